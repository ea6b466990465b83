"""Makes checkpoints with the structure of other projects' files, without their code.

`dumps` is Python's own pickler, taught to write any global (`Global`), call (`Call`), object (`New`) and persistent id
(`Persistent`), so that a test can say what a file shall ask for. Tensors are pickled by torch itself.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(eq=False)
class Global:
    """Writes the name of a function or class; calling it here would be the mistake the tests look for."""

    module: str
    name: str

    def __call__(self, *arguments: object) -> None:
        raise AssertionError(f"{self.module}.{self.name} was called")


@dataclass(eq=False)
class Call:
    """Writes "call this with these arguments", then "give it this state"."""

    function: Any
    arguments: tuple = ()
    state: Any = None


@dataclass(eq=False)
class New:
    """Writes "make an object of this class", then "give it this state"."""

    kind: Any
    state: Any = None
    arguments: tuple = ()


@dataclass(eq=False)
class Persistent:
    """Writes a persistent id."""

    pid: Any


class _Pickler(pickle._Pickler):
    dispatch = dict(pickle._Pickler.dispatch)

    def _global(self, value: Global) -> None:
        if self.proto >= 4:
            self.save(value.module)
            self.save(value.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        self.memoize(value)

    def _finish(self, value: Call | New) -> None:
        self.memoize(value)
        if value.state is not None:
            self.save(value.state)
            self.write(pickle.BUILD)

    def _call(self, value: Call) -> None:
        self.save(value.function)
        self.save(value.arguments)
        self.write(pickle.REDUCE)
        self._finish(value)

    def _new(self, value: New) -> None:
        self.save(value.kind)
        self.save(value.arguments)
        self.write(pickle.NEWOBJ)
        self._finish(value)

    def _persistent(self, value: Persistent) -> None:
        self.save(value.pid)
        self.write(pickle.BINPERSID)

    dispatch[Global] = _global
    dispatch[Call] = _call
    dispatch[New] = _new
    dispatch[Persistent] = _persistent


def dumps(value: Any, protocol: int = 2) -> bytes:
    """`value` as a pickle."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def torch_archive(value: Any, storages: dict[str, bytes], **members: bytes) -> bytes:
    """A file as torch.save writes it: data.pkl and the raw numbers of the storages, uncompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", value if isinstance(value, bytes) else dumps(value))
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw)
        for name, raw in members.items():
            archive.writestr(f"archive/{name}", raw)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def old_torch_file(content: bytes, magic: int = 0x1950A86A20F9469CFC6C, protocol: int = 1001) -> bytes:
    """A file as torch.save wrote it before 1.6, around the pickled `content`, without storages."""
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    return b"".join(dumps(value) for value in (magic, protocol, facts)) + content + dumps([])


def stored_tensor(
    key: str, numel: int, shape: tuple, stride: tuple, offset: int = 0, kind: str = "FloatStorage"
) -> Call:
    """A tensor that lies in the storage `key` of an archive."""
    pid = ("storage", Global("torch", kind), key, "cuda:0", numel)
    arguments = (Persistent(pid), offset, shape, stride, False, OrderedDict())
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), arguments)


def floats(*values: float) -> bytes:
    """The raw bytes of float32 numbers."""
    return struct.pack(f"<{len(values)}f", *values)


# Generators of other projects, from the state dict of one of ours.

PERSISTENCE = Global("torch_utils.persistence", "_reconstruct_persistent_obj")
SOURCE = "raise SystemExit('the source code inside the checkpoint was executed')"


_ALIAS_FREE = ("transform", "freqs", "phases", "magnitude_ema", "up_filter", "down_filter")


def module(parts: dict[str, torch.Tensor], attributes: dict[str, dict], wrap: Any, path: str = "") -> Any:
    """A saved module tree from dotted tensor names; `attributes` are the modules' own, `wrap(path, state)` the form."""
    own = {name: tensor for name, tensor in parts.items() if "." not in name}
    children: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in parts.items():
        if "." in name:
            child, suffix = name.split(".", 1)
            children.setdefault(child, {})[suffix] = tensor
    buffers = {n: t for n, t in own.items() if n in ("w_avg", "noise_const", "resample_filter", "kernel", *_ALIAS_FREE)}
    state = {
        "training": False,
        "_parameters": OrderedDict((n, torch.nn.Parameter(t)) for n, t in own.items() if n not in buffers),
        "_buffers": OrderedDict(buffers),
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_modules": OrderedDict(
            (name, module(inner, attributes, wrap, f"{path}.{name}" if path else name))
            for name, inner in children.items()
        ),
        **attributes.get(path, {}),
    }
    return wrap(path, state)


def persistent(path: str, state: dict) -> Call:
    """The form of NVlabs' repositories."""
    meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": path.split(".")[-1] or "Generator"}
    return Call(PERSISTENCE, ({**meta, "state": state},))


def plain(path: str, state: dict) -> New:
    """The form of torch.save(module)."""
    return New(Global("model", f"Layer{path.split('.')[-1]}" if path else "Generator"), state)


def nvlabs_generator(network: Any, nested: bool) -> Any:
    """One of our networks as NVlabs' module, with the constructor's arguments nested (ada) or flat (stylegan3)."""
    config = network.config
    synthesis = {"channel_base": 32768, "conv_clamp": config.conv_clamp, "architecture": config.architecture}
    mapping = {"num_layers": config.mapping_layers, "lr_multiplier": config.lr_multiplier}
    kwargs = {"z_dim": config.z_dim, "mapping_kwargs": mapping}
    kwargs.update({"synthesis_kwargs": synthesis} if nested else synthesis)
    attributes: dict[str, dict] = {"": {"z_dim": config.z_dim, "_init_args": (), "_init_kwargs": kwargs}}
    for name in network.state_dict():
        parts = name.split(".")
        if parts[0] == "mapping" and len(parts) == 3:
            gain = 1.0 if parts[1] == "embed" else config.lr_multiplier
            attributes["mapping." + parts[1]] = {"bias_gain": gain, "activation": config.activation}
        if len(parts) > 3 and parts[2].startswith("conv"):
            attributes[".".join(parts[:3])] = {"conv_clamp": config.conv_clamp, "activation": config.activation}
    return module(network.state_dict(), attributes, persistent)


def nvlabs_snapshot(network: Any, nested: bool) -> dict:
    """What NVlabs' training loops pickle; only G_ema holds the network's weights."""
    wrong = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    return {
        "G": module(wrong, {}, persistent),
        "D": module({"b4.fc.weight": torch.ones(2, 2)}, {}, persistent),
        "G_ema": nvlabs_generator(network, nested),
        "augment_pipe": None,
        "training_set_kwargs": New(Global("dnnlib.util", "EasyDict")),
    }


def stylegan3_generator(network: Any) -> Any:
    """One of our StyleGAN3s as NVlabs' module: with the filters that it stores, and the attributes of its layers."""
    config, sampling, synthesis = network.config, network.config.sampling(), network.synthesis
    tensors = dict(network.state_dict())
    attributes: dict[str, dict] = {
        "": {"z_dim": config.z_dim, "_init_args": (), "_init_kwargs": {"z_dim": config.z_dim}},
        "mapping.fc0": {"bias_gain": config.lr_multiplier, "activation": "lrelu"},
        "synthesis": {
            "num_layers": config.num_blocks, "num_critical": config.critical_layers, "margin_size": config.margin,
            "output_scale": config.output_scale, "img_resolution": config.image_size,
        },
    }  # fmt: skip
    for k, (_, name) in enumerate(synthesis.layers[1:]):
        layer = synthesis.conv(k + 1)
        attributes[f"synthesis.{name}"] = {
            "in_cutoff": sampling[k].cutoff, "conv_clamp": config.conv_clamp, "padding": [*layer.padding] * 2
        }  # fmt: skip
        for filter_name in ("up_filter", "down_filter"):
            if getattr(layer, filter_name).numel() > 1:
                tensors[f"synthesis.{name}.{filter_name}"] = getattr(layer, filter_name)
    return module(tensors, attributes, persistent)


def tensorflow_snapshot(network: Any, protocol_version: int = 4, **static: Any) -> tuple:
    """(G, D, Gs) of tflib networks; Gs holds the network's weights as TensorFlow keeps them."""
    kind = Global("dnnlib.tflib.network", "Network")

    def tflib(name: str, variables: list, components: dict, static: dict) -> New:
        state = {"version": protocol_version, "name": name, "static_kwargs": static, "components": components}
        return New(kind, {**state, "variables": variables, "build_module_src": SOURCE, "build_func_name": name})

    mapping, synthesis = [], []
    parts = {"weight": "weight", "bias": "bias", "noise_strength": "noise_strength", "affine.weight": "mod_weight"}
    layers = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "skip": "Skip"}
    for name, tensor in network.state_dict().items():
        group, block, *path = name.split(".")
        inner, value = ".".join(path[1:]), tensor.numpy()
        if group == "mapping" and block != "w_avg":
            layer = "LabelEmbed" if block == "embed" else f"Dense{block[2:]}"
            mapping.append((f"{layer}/{path[0]}", value.T if value.ndim == 2 else value))
        if group == "mapping" or name.endswith("resample_filter"):
            continue
        size = int(block[1:])
        if path == ["const"]:
            synthesis.append(("4x4/Const/const", value[None]))
        elif inner == "noise_const":
            index = 2 * (size.bit_length() - 3) - int(path[0] == "conv0")
            synthesis.append((f"noise{index}", value[None, None]))
        else:
            layer = "Conv" if size == 4 and path[0] == "conv1" else layers[path[0]]
            if inner == "weight":
                value = value.transpose(2, 3, 1, 0)
                value = value[::-1, ::-1] if path[0] in ("conv0", "skip") else value
            elif inner == "affine.weight":
                value = value.T
            elif inner == "affine.bias":
                value = value - 1
            synthesis.append((f"{size}x{size}/{layer}/{parts.get(inner, 'mod_bias')}", value))
    components = {"mapping": tflib("mapping", mapping, {}, {}), "synthesis": tflib("synthesis", synthesis, {}, {})}
    static = {"num_channels": 3, "mapping_lrmul": network.config.lr_multiplier, **static}
    mean = [("lod", torch.zeros([]).numpy()), ("dlatent_avg", network.mapping.w_avg.numpy())]
    return (tflib("G", [], {}, {}), tflib("D", [], {}, {}), tflib("Gs", mean, components, static))
