"""Our StyleGAN2 against reference numbers of NVlabs' and rosinality's public code: within 5e-5 on random weights.

data/README.md says how the numbers were made. Weights are drawn again from the seed: all of them random, biases, noise
strengths and w_avg too, since zeros there would hide wiring errors.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from semantic_edit.models import StyleGAN2, StyleGAN2Config, load_generator
from semantic_edit.models.convert import convert_file
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

DATA = Path(__file__).parent / "data"
BAR = 5e-5
NVLABS = [
    (file, case, psi, noise)
    for file in ("stylegan2_ada_pytorch", "stylegan3_config_f")
    for case in ("64", "64labels", "64resnet", "64orig", "64clamp", "256")
    for psi in ("1", "0.7")
    for noise in ("const", "none")
] + [("stylegan2_ada_pytorch", "1024", "1", "const"), ("stylegan3_config_f", "1024", "0.7", "none")]


def drawn(name: str, shape: tuple[int, ...], rng: np.random.RandomState, lr_multiplier: float) -> np.ndarray:
    """One tensor's values. RandomState, because its stream is frozen by numpy's policy; Generator's is not."""
    x = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("noise_strength"):
        return np.asarray(x * np.float32(0.3))
    if name.endswith("affine.bias"):
        return 1 + x * np.float32(0.3)
    if name.startswith("mapping.fc"):
        return x * np.float32((0.3 if name.endswith("bias") else 1.0) / lr_multiplier)
    if name.endswith("bias"):
        return x * np.float32(0.3)
    return x * np.float32(0.5) if name.endswith("w_avg") else x


def draw_weights(shapes: dict[str, tuple[int, ...]], seed: int, lr_multiplier: float) -> dict[str, torch.Tensor]:
    rng = np.random.RandomState(seed)
    names = sorted(name for name in shapes if not name.endswith("resample_filter"))
    return {
        name: torch.from_numpy(np.array(drawn(name, shapes[name], rng, lr_multiplier), np.float32)) for name in names
    }


def reference(file: str, case: str) -> tuple[dict[str, np.ndarray], dict]:
    with np.load(DATA / f"{file}.npz") as arrays:
        mine = {name.removeprefix(f"{case}/"): arrays[name] for name in arrays.files if name.startswith(f"{case}/")}
    return mine, json.loads(mine.pop("config").tobytes())


def network_of(facts: dict) -> StyleGAN2:
    """The network with the case's random weights."""
    config = StyleGAN2Config(
        z_dim=facts["z_dim"],
        w_dim=facts["w_dim"],
        c_dim=facts["c_dim"],
        channels=tuple(facts["channels"]),
        mapping_layers=facts["layers"],
        lr_multiplier=facts["lr"],
        architecture=facts["architecture"],
        conv_clamp=facts["conv_clamp"],
    )
    network = StyleGAN2(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    left = network.load_state_dict(draw_weights(shapes, facts["seed"], facts["lr"]), strict=False)
    assert not left.unexpected_keys and all(name.endswith("resample_filter") for name in left.missing_keys)
    return network.requires_grad_(False).eval()


def inputs(facts: dict) -> tuple[torch.Tensor, torch.Tensor | None]:
    z = np.random.RandomState(1).standard_normal((2, facts["z_dim"])).astype(np.float32)
    return torch.from_numpy(z), torch.eye(facts["c_dim"])[:2] if facts["c_dim"] else None


def compare(image: torch.Tensor, w: torch.Tensor, expected: dict[str, np.ndarray], psi: str, noise: str) -> None:
    positions = np.random.RandomState(5).randint(0, image.numel(), 300)
    assert np.abs(w.numpy() - expected[f"{psi}/w"].reshape(w.shape)).max() < BAR
    assert np.abs(image.reshape(-1).numpy()[positions] - expected[f"{psi}/{noise}"]).max() < BAR


@pytest.mark.parametrize(("file", "case", "psi", "noise"), NVLABS)
def test_equals_nvlabs(file, case, psi, noise):
    expected, facts = reference(file, case)
    network = network_of(facts)
    z, labels = inputs(facts)
    w = network.mapping(z, labels)
    w = network.mapping.w_avg + float(psi) * (w - network.mapping.w_avg)
    ws = w[:, None].repeat(1, network.config.num_layers, 1)
    image = network.synthesis(ws, SynthesisOptions(noise={"const": "constant", "none": "none"}[noise])).image
    assert image.shape == (2, 3, facts["res"], facts["res"])
    compare(image, w, expected, psi, noise)


def test_the_comparison_notices_a_wrong_wire():
    """The bar would be worth nothing if a network with its noise left out passed it."""
    expected, facts = reference("stylegan2_ada_pytorch", "64")
    network = network_of(facts)
    z, labels = inputs(facts)
    w = network.mapping(z, labels)
    image = network.synthesis(w[:, None].repeat(1, network.config.num_layers, 1), SynthesisOptions(noise="none")).image
    with pytest.raises(AssertionError):
        compare(image, w, expected, "1", "const")


def rosinality_names(network: StyleGAN2) -> dict[str, torch.Tensor]:
    """The network's weights as rosinality's code saves them."""
    part = {"weight": "conv.weight", "affine.weight": "conv.modulation.weight", "affine.bias": "conv.modulation.bias"}
    state: dict[str, torch.Tensor] = {}
    for name, tensor in network.state_dict().items():
        group, block, *rest = name.split(".")
        if group == "mapping" and block.startswith("fc"):
            state[f"style.{int(block[2:]) + 1}.{rest[0]}"] = tensor
        if group == "mapping" or name.endswith("resample_filter"):
            continue
        k = int(block[1:]).bit_length() - 3  # 4 px: 0, 8 px: 1, ...
        layer = f"convs.{2 * k - 2 + int(rest[0] == 'conv1')}" if k else "conv1"
        rgb = f"to_rgbs.{k - 1}" if k else "to_rgb1"
        inner = ".".join(rest[1:])
        if rest == ["const"]:
            state["input.input"] = tensor[None]
        elif rest[0] == "torgb":
            shaped = {"weight": tensor[None], "bias": tensor.reshape(1, -1, 1, 1)}.get(inner, tensor)
            state[f"{rgb}.{part.get(inner, inner)}"] = shaped
        elif inner == "noise_const":
            state[f"noises.noise_{2 * k - int(rest[0] == 'conv0')}"] = tensor[None, None]
        elif inner in ("noise_strength", "bias"):
            state[f"{layer}.{'noise.weight' if inner != 'bias' else 'activate.bias'}"] = tensor.reshape(-1)
        else:
            state[f"{layer}.{part[inner]}"] = tensor[None] if inner == "weight" else tensor
    return state


@pytest.mark.parametrize("psi", ["1", "0.7"])
@pytest.mark.parametrize("noise", ["const", "none"])
def test_a_converted_rosinality_file_equals_rosinality(tmp_path, psi, noise):
    expected, facts = reference("rosinality_stylegan2", "64")
    network = network_of(facts)
    checkpoint = {"g_ema": rosinality_names(network), "latent_avg": network.mapping.w_avg}
    torch.save(checkpoint, tmp_path / "550000.pt")
    said: list[str] = []
    convert_file(tmp_path / "550000.pt", tmp_path / "out.safetensors", said.append)
    generator = load_generator(tmp_path / "out.safetensors")
    z, _ = inputs(facts)
    w = generator.map(z, truncation=float(psi))
    image = generator.synthesize(w, noise={"const": "constant", "none": "none"}[noise])
    compare(image, w[:, 0], expected, psi, noise)
    assert "rosinality" in said[0] and "64x64" in said[0]
