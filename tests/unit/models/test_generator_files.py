"""Generators as files: there and back, in half precision, under inference mode; and every wrong file a sentence."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import save, save_file
from semantic_edit.models import CheckpointError, load_generator, read_metadata, save_generator
from semantic_edit.models.gan.generator import family_fingerprint


@pytest.fixture
def network(make_network):
    return make_network(c_dim=3, conv_clamp=200.0, const_size=(4, 2), channels=(16, 18, 16))


def pictures(network):
    rng = torch.Generator().manual_seed(0)
    z, labels = torch.randn(2, 12, generator=rng), torch.eye(3)[:2]
    return network.synthesis(network.mapping(z, labels)[:, None].expand(-1, 6, -1)).image


def test_there_and_back(network, tmp_path):
    path = save_generator(tmp_path / "faces.safetensors", network, {"licence": "MIT"})
    generator = load_generator(path)
    assert generator.network.config == network.config
    assert (generator.name, generator.family) == ("faces", family_fingerprint(network))
    for name, tensor in network.state_dict().items():
        assert torch.equal(generator.network.state_dict()[name], tensor), name
    assert torch.equal(pictures(generator.network), pictures(network))
    header = read_metadata(path)
    assert header["kind"] == "generator" and json.loads(header["provenance"]) == {"licence": "MIT"}
    assert [p.name for p in tmp_path.iterdir()] == ["faces.safetensors"]


def test_equal_networks_make_equal_files(network, tmp_path):
    paths = [save_generator(tmp_path / f"{k}.safetensors", network) for k in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_half_precision(network, tmp_path):
    whole = save_generator(tmp_path / "whole.safetensors", network)
    half = save_generator(tmp_path / "half.safetensors", network, half=True)
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    first, second = load_generator(whole), load_generator(half)
    assert first.family == second.family
    assert {t.dtype for t in second.network.state_dict().values()} == {torch.float32}
    exact = pictures(first.network)
    assert (pictures(second.network) - exact).abs().max() < 0.02 * exact.abs().max()


def test_the_family_given_is_kept(network, tmp_path):
    path = save_generator(tmp_path / "adapted.safetensors", network, family="faces-1")
    assert load_generator(path).family == "faces-1"


def test_loaded_under_inference_mode_it_serves_autograd(network, tmp_path):
    path = save_generator(tmp_path / "g.safetensors", network)
    with torch.inference_mode():
        generator = load_generator(path)
        generator.synthesize(torch.zeros(1, 6, 16))
    assert not any(p.is_inference() or p.requires_grad for p in generator.network.parameters())
    w = torch.randn(1, 6, 16, requires_grad=True)
    generator.synthesize(w).square().mean().backward()
    assert w.grad.abs().max() > 0
    generator.network.requires_grad_(True)
    generator.synthesize(w).square().mean().backward()
    assert generator.network.synthesis.b8.conv0.weight.grad.abs().max() > 0


def forged(network, **changes):
    """The bytes of a generator file with some tensors or header fields replaced; None removes one."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    header = {"format": "semantic_edit", "kind": "generator", "config": json.dumps(network.config.to_json())}
    for name, value in changes.items():
        place = tensors if name in tensors or isinstance(value, torch.Tensor) else header
        if value is None:
            del place[name]
        else:
            place[name] = value
    return save(tensors, header)


def config_with(network, **fields):
    return json.dumps({**network.config.to_json(), **fields})


WRONG = {
    "another kind": (lambda n: forged(n, kind="latents"), "it holds 'latents'"),
    "another project": (lambda n: forged(n, format="pt"), "does not say that it comes from"),
    "no header": (lambda n: save(dict(n.state_dict())), "does not say that it comes from"),
    "no config": (lambda n: forged(n, config=None), "no readable 'config'|lacks"),
    "config is no JSON": (lambda n: forged(n, config="{"), "'config' is damaged"),
    "config is a list": (lambda n: forged(n, config="[1]"), "'config' is damaged"),
    "config is too deep": (lambda n: forged(n, config="[" * 50_000), "'config' is damaged"),
    "config lacks a field": (lambda n: forged(n, config='{"z_dim": 12}'), "lacks: channels, w_dim"),
    "config of another network": (lambda n: forged(n, config=config_with(n, w_dim=32)), "its header describes"),
    "config of more blocks": (lambda n: forged(n, config=config_with(n, channels=[16] * 4)), "lacks synthesis.b32"),
    "config of fewer blocks": (lambda n: forged(n, config=config_with(n, channels=[16] * 2)), "unknown tensors"),
    "config of a giant": (
        lambda n: forged(n, config=config_with(n, channels=[65536] * 12, const_size=[65536, 65536])),
        "does not match",
    ),
    "a tensor too few": (lambda n: forged(n, **{"synthesis.b8.conv0.bias": None}), "lacks synthesis.b8.conv0.bias"),
    "a tensor too many": (lambda n: forged(n, extra=torch.zeros(2)), "unknown tensors extra"),
    "thousands of tensors": (
        lambda n: forged(n, **{f"t{k}": torch.zeros(1) for k in range(2000)}),
        "far more than its config describes",
    ),
    "a wrong shape": (
        lambda n: forged(n, **{"synthesis.b4.const": torch.zeros(16, 4, 4)}),
        r"synthesis.b4.const has shape \(16, 4, 4\)",
    ),
    "integers": (
        lambda n: forged(n, **{"mapping.w_avg": torch.zeros(16, dtype=torch.int32)}),
        "mapping.w_avg holds torch.int32",
    ),
    "cut short": (lambda n: forged(n)[:-100], "cut short"),
    "header cut short": (lambda n: forged(n)[:50], "cut short"),
    "empty": (lambda n: b"", "cut short"),
    "text": (lambda n: b"this is no checkpoint at all, only a text of some length", "another kind of file"),
    "a pickle renamed": (lambda n: b"\x80\x04\x95" + bytes(100), "another kind of file"),
    "a header that promises gigabytes": (lambda n: struct.pack("<Q", 2**40) + b"{}", "cut short"),
    "a tensor that promises gigabytes": (
        lambda n: _raw({"a": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}),
        "cut short",
    ),
    "a shape that overflows": (
        lambda n: _raw({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)),
        "damaged",
    ),
    "offsets that overlap": (
        lambda n: _raw({k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "ab"}, bytes(4)),
        "damaged",
    ),
    "an unknown dtype": (
        lambda n: _raw({"a": {"dtype": "Z9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        "damaged",
    ),
}


def _raw(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def peak_memory() -> int:
    """In KB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("wrong", sorted(WRONG))
def test_wrong_files(network, tmp_path, wrong):
    make, word = WRONG[wrong]
    path = tmp_path / "g.safetensors"
    path.write_bytes(make(network))
    before = peak_memory()
    with pytest.raises(CheckpointError, match=word) as caught:
        load_generator(path)
    assert peak_memory() - before < 200_000
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message and str(tmp_path) not in message
    assert [p.name for p in tmp_path.iterdir()] == ["g.safetensors"]


def test_files_that_are_none(network, tmp_path):
    with pytest.raises(CheckpointError, match="missing.safetensors does not exist"):
        load_generator(tmp_path / "missing.safetensors")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_generator(tmp_path)
    for name in ("g.pkl", "g.pt", "g.PTH", "g.npy"):
        (tmp_path / name).write_bytes(b"\x80\x04")
        with pytest.raises(CheckpointError, match=f"{name} is a .*semantic-edit convert"):
            load_generator(tmp_path / name)
    save_file({"direction": torch.zeros(6, 16)}, tmp_path / "d.safetensors")
    with pytest.raises(CheckpointError, match="not a 'generator' file"):
        load_generator(tmp_path / "d.safetensors")
