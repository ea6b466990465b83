"""StyleGAN2's dimensions: read from a header or from the shapes of a state dict, and checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from torch import Tensor

from ...kernels import ACTIVATIONS
from ..errors import CheckpointError

_ARCHITECTURES = ("skip", "orig", "resnet")


@dataclass(frozen=True)
class StyleGAN2Config:
    """The network's dimensions. Block k has size ``const_size`` times 2**k and ``channels[k]`` feature channels."""

    z_dim: int  # input noise
    w_dim: int  # D, the width of one row of W+
    channels: tuple[int, ...]  # feature channels of each block, from the constant upward
    c_dim: int = 0  # label width, 0 = no labels
    img_channels: int = 3
    const_size: tuple[int, int] = (4, 4)  # height, width of the learned constant
    mapping_layers: int = 8
    mapping_features: int = 0  # hidden width of the mapping, 0 = w_dim
    embed_features: int = 0  # width of the embedded label, 0 = w_dim
    lr_multiplier: float = 0.01  # of the mapping: part of its arithmetic, not only of its training
    normalize_z: bool = True
    architecture: str = "skip"
    resample_filter: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)
    conv_clamp: float | None = None
    activation: str = "lrelu"
    use_noise: bool = True

    def __post_init__(self) -> None:
        if self.architecture not in _ARCHITECTURES:
            raise CheckpointError(f"Unknown architecture '{self.architecture}'; expected {', '.join(_ARCHITECTURES)}.")
        if len(self.const_size) != 2:
            raise CheckpointError(f"A generator's constant has a height and a width; got {self.const_size}.")
        if min(self.z_dim, self.w_dim, self.img_channels, self.mapping_layers, *self.const_size) < 1:
            raise CheckpointError("A generator's widths, layers and constant must be at least 1.")
        if min(self.c_dim, self.mapping_features, self.embed_features) < 0:
            raise CheckpointError("A generator's label and hidden widths must not be negative.")
        if not 1 <= len(self.channels) <= 12 or min(self.channels) < 1:
            raise CheckpointError(f"A generator has 1 to 12 blocks of at least one channel; got {self.channels}.")
        widths = (self.z_dim, self.w_dim, self.c_dim, self.img_channels, *self.channels, *self.const_size)
        widths += (self.mapping_features, self.embed_features)
        if max(widths) > 65536 or self.mapping_layers > 64 or not 1 <= len(self.resample_filter) <= 64:
            raise CheckpointError("A generator of these dimensions is beyond anything published; the file is damaged.")
        if self.activation not in ACTIVATIONS:
            raise CheckpointError(f"Unknown activation '{self.activation}'; expected {', '.join(ACTIVATIONS)}.")
        clamp = 1.0 if self.conv_clamp is None else self.conv_clamp
        if not 0 < self.lr_multiplier < math.inf or not 0 < clamp < math.inf:
            raise CheckpointError("A generator's lr_multiplier and conv_clamp must be positive numbers.")
        if not 1e-6 < abs(sum(self.resample_filter)) < math.inf:
            raise CheckpointError(f"A generator's low-pass must have a sum to divide by; got {self.resample_filter}.")

    @property
    def resolution(self) -> tuple[int, int]:
        """Height and width of the finished picture."""
        factor = 2 ** (len(self.channels) - 1)
        return self.const_size[0] * factor, self.const_size[1] * factor

    @property
    def num_layers(self) -> int:
        """L: rows of W+, one for each convolution and one for the last ToRGB."""
        return 2 * len(self.channels)

    def to_json(self) -> dict:
        """Return a JSON-ready dict; :meth:`from_json` reverses it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> StyleGAN2Config:
        """Read a header's values.

        Raises:
            CheckpointError: an unknown, missing or wrong field, by its name.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise CheckpointError(f"The generator's config has unknown fields: {', '.join(unknown)}.")
        checked: dict[str, object] = {}
        for name, value in values.items():
            try:
                checked[name] = _convert(name, value)
            except (TypeError, ValueError, OverflowError):
                raise CheckpointError(f"The generator's config field '{name}' has no valid value: {value!r}.") from None
        missing = {"z_dim", "w_dim", "channels"} - set(checked)
        if missing:
            raise CheckpointError(f"The generator's config lacks: {', '.join(sorted(missing))}.")
        return cls(**checked)  # type: ignore[arg-type]

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], **known: object) -> StyleGAN2Config:
        """Read the dimensions from the shapes of an NVlabs-named state dict.

        Args:
            state: the tensors by name.
            known: fields that shapes cannot tell.

        Raises:
            CheckpointError: the tensors are no StyleGAN2 generator.
        """
        try:
            return cls(**{**_from_shapes(state), **known})  # type: ignore[arg-type]
        except (KeyError, IndexError, ValueError) as error:
            if isinstance(error, CheckpointError):
                raise
            reason = f"{error} is missing" if isinstance(error, KeyError) else "a tensor has an impossible shape"
            raise CheckpointError(f"The tensors do not form a StyleGAN2 generator: {reason}.") from None


def _convert(name: str, value: object) -> object:
    """Return a header's value in its field's type, or raise TypeError or ValueError."""
    if name in ("channels", "const_size"):
        if not isinstance(value, (list, tuple)) or not all(type(v) is int for v in value):
            raise TypeError(name)
        return tuple(value)
    if name == "resample_filter":
        if not isinstance(value, (list, tuple)):
            raise TypeError(name)
        return tuple(float(v) for v in value)
    if name in ("normalize_z", "use_noise"):
        if not isinstance(value, bool):
            raise TypeError(name)
        return value
    if name in ("architecture", "activation"):
        if not isinstance(value, str):
            raise TypeError(name)
        return value
    if name == "lr_multiplier":
        return float(value)  # type: ignore[arg-type]
    if name == "conv_clamp":
        return None if value is None else float(value)  # type: ignore[arg-type]
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(name)
    return value


def _from_shapes(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Read the fields that the names and shapes of tensors tell."""
    blocks = sorted({int(m[1]) for name in state if (m := re.match(r"synthesis\.b(\d+)\.", name))})
    if not blocks or blocks != [blocks[0] * 2**k for k in range(len(blocks))]:
        raise CheckpointError(f"The tensors do not form a StyleGAN2 generator: its blocks are {blocks}.")
    const = state[f"synthesis.b{blocks[0]}.const"]
    channels = [int(state[f"synthesis.b{b}.conv1.weight"].shape[0]) for b in blocks]
    layers = len([name for name in state if re.fullmatch(r"mapping\.fc\d+\.weight", name)])
    w_dim = int(state[f"synthesis.b{blocks[0]}.conv1.affine.weight"].shape[1])
    embed = state.get("mapping.embed.weight")
    first, last = state["mapping.fc0.weight"], state[f"mapping.fc{layers - 1}.weight"]
    embed_width = 0 if embed is None else int(embed.shape[0])
    if any(name.endswith(".skip.weight") for name in state):
        architecture = "resnet"
    else:
        all_rgb = all(f"synthesis.b{b}.torgb.weight" in state for b in blocks)
        architecture = "skip" if all_rgb else "orig"
    return {
        "z_dim": int(first.shape[1]) - embed_width,
        "c_dim": 0 if embed is None else int(embed.shape[1]),
        "w_dim": w_dim,
        "channels": tuple(channels),
        "img_channels": int(state[f"synthesis.b{blocks[-1]}.torgb.weight"].shape[0]),
        "const_size": (int(const.shape[-2]), int(const.shape[-1])),
        "mapping_layers": layers,
        "mapping_features": int(last.shape[1]) if layers > 1 else 0,
        "embed_features": embed_width,
        "architecture": architecture,
        "use_noise": f"synthesis.b{blocks[0]}.conv1.noise_const" in state,
    }


def config_from_header(text: str) -> StyleGAN2Config:
    """Read the config stored in a file's header.

    Raises:
        CheckpointError: it is no JSON object, or not a config.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise CheckpointError("The generator file's header has no readable 'config'.")
    return StyleGAN2Config.from_json(values)
