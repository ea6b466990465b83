"""ArcFace and LPIPS against their definitions in numpy, and as files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from semantic_edit.models import CheckpointError, InputError
from semantic_edit.models.losses.files import load_identity, load_perceptual, save_loss
from semantic_edit.models.losses.perceptual import COMPARED, CONVOLUTIONS


def convolved(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    pad = weight.shape[-1] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = x.shape[-1] - 2 * pad
    total = sum(
        np.einsum("bchw,oc->bohw", x[:, :, i : i + out, j : j + out], weight[:, :, i, j])
        for i in range(weight.shape[-1])
        for j in range(weight.shape[-1])
    )
    return total[:, :, ::stride, ::stride]


def pooled(x: np.ndarray, size: int) -> np.ndarray:
    """Adaptive average pooling: cell k averages from floor(k n / size) to ceil((k + 1) n / size)."""
    for axis in (2, 3):
        n = x.shape[axis]
        edges = [(k * n // size, -(-(k + 1) * n // size)) for k in range(size)]
        x = np.stack([x.take(range(a, b), axis=axis).mean(axis=axis) for a, b in edges], axis=axis)
    return x


def face_by_hand(network, pictures: np.ndarray) -> np.ndarray:
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in network.state_dict().items()}

    def normed(name: str, x: np.ndarray) -> np.ndarray:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean, spread = (state[f"{name}.running_{n}"].reshape(shape) for n in ("mean", "var"))
        y = (x - mean) / np.sqrt(spread + 1e-5)
        return y * state[f"{name}.weight"].reshape(shape) + state[f"{name}.bias"].reshape(shape)

    def prelu(name: str, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, x * state[f"{name}.weight"].reshape(1, -1, 1, 1))

    x = pooled(pictures, 256) if pictures.shape[-1] != 256 else pictures
    x = pooled(x[:, :, 35:223, 32:220], network.config.size)
    x = prelu("input_layer.2", normed("input_layer.1", convolved(x, state["input_layer.0.weight"])))
    for k in range(len(network.body)):
        unit, stride = f"body.{k}.res_layer", 2  # every stage of the tiny network is one unit
        y = prelu(f"{unit}.2", convolved(normed(f"{unit}.0", x), state[f"{unit}.1.weight"]))
        y = normed(f"{unit}.4", convolved(y, state[f"{unit}.3.weight"], stride))
        mean = y.mean(axis=(2, 3), keepdims=True)
        squeezed = np.maximum(convolved(mean, state[f"{unit}.5.fc1.weight"]), 0)
        y = y / (1 + np.exp(-convolved(squeezed, state[f"{unit}.5.fc2.weight"])))
        if f"body.{k}.shortcut_layer.0.weight" in state:
            x = normed(f"body.{k}.shortcut_layer.1", convolved(x, state[f"body.{k}.shortcut_layer.0.weight"], stride))
        else:
            x = x[:, :, ::stride, ::stride]
        x = x + y
    x = normed("output_layer.0", x).reshape(len(x), -1)
    x = normed("output_layer.4", x @ state["output_layer.3.weight"].T + state["output_layer.3.bias"])
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def difference_by_hand(network, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in network.state_dict().items()}

    def maps(x: np.ndarray) -> list[np.ndarray]:
        shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
        x, result = (x - shift.reshape(1, 3, 1, 1)) / scale.reshape(1, 3, 1, 1), []
        for number in CONVOLUTIONS:
            if number in (5, 10, 17, 24):
                x = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).max(axis=(3, 5))
            weight, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
            x = np.maximum(convolved(x, weight) + bias.reshape(1, -1, 1, 1), 0)
            if number in COMPARED:
                result.append(x / (np.sqrt((x**2).sum(axis=1, keepdims=True)) + 1e-10))
        return result

    pairs = enumerate(zip(maps(a), maps(b), strict=True))
    return sum(np.einsum("bchw,c->b", (x - y) ** 2, state[f"lin{k}"]) / x[0, 0].size for k, (x, y) in pairs)


def pictures(size: int, seed: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("size", [256, 320, 64])
def test_a_face_is_embedded_as_defined(tiny_identity, size):
    x = pictures(size, 1)
    expected = face_by_hand(tiny_identity, x.numpy().astype(np.float64))
    assert np.abs(tiny_identity(x).numpy() - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 0.05


def test_a_difference_is_measured_as_defined(tiny_perceptual):
    a, b = pictures(32, 1), pictures(32, 2)
    expected = difference_by_hand(tiny_perceptual, *(x.numpy().astype(np.float64) for x in (a, b)))
    measured = tiny_perceptual.distance(a, tiny_perceptual.target(b))
    assert np.abs(measured.numpy() - expected).max() < 1e-5 and expected.min() > 0.05
    assert float(tiny_perceptual.distance(a, tiny_perceptual.target(a)).abs().max()) == 0


def test_only_what_the_mask_shows_counts(tiny_perceptual):
    a = pictures(128, 1)
    b, mask = a.clone(), torch.zeros(1, 1, 128, 128)
    b[..., 96:] = pictures(128, 2)[..., 96:]
    mask[..., :32] = 1
    masked = tiny_perceptual.distance(b, tiny_perceptual.target(a, mask))
    assert float(masked.max()) < 0.02 * float(tiny_perceptual.distance(b, tiny_perceptual.target(a)).min())
    assert float(tiny_perceptual.distance(b, tiny_perceptual.target(a, 1 - mask)).min()) > 0.01


def test_large_pictures_are_compared_at_256(tiny_perceptual):
    large, half = pictures(512, 1, 1), torch.nn.functional.avg_pool2d(pictures(512, 1, 1), 2)
    for x, y in zip(tiny_perceptual.layers(large), tiny_perceptual.layers(half), strict=True):
        assert torch.equal(x, y)


def test_gradients_are_numbers_where_nothing_is_seen(tiny_perceptual):
    """A flat picture leaves positions without any feature: the length of nothing has no slope."""
    silent = type(tiny_perceptual)(tiny_perceptual.config)
    silent.load_state_dict({n: torch.zeros_like(t) for n, t in tiny_perceptual.state_dict().items()})
    x = pictures(32, 1).requires_grad_(True)
    silent.distance(x, tiny_perceptual.target(pictures(32, 2))).sum().backward()
    assert bool(torch.isfinite(x.grad).all())


def test_files_hold_what_was_saved(tmp_path, tiny_identity, tiny_perceptual):
    face, look = (
        save_loss(tmp_path / f"{n}.safetensors", m) for n, m in (("f", tiny_identity), ("l", tiny_perceptual))
    )
    x = pictures(64, 3)
    assert torch.equal(load_identity(face)(x), tiny_identity(x))
    assert torch.equal(load_perceptual(look).layers(x)[4], tiny_perceptual.layers(x)[4])
    with pytest.raises(CheckpointError, match="holds a face recogniser; expected a perceptual network"):
        load_perceptual(face)
    with pytest.raises(CheckpointError, match="holds a perceptual network; expected a face recogniser"):
        load_identity(look)


def test_other_shapes_are_refused(tiny_identity, tiny_perceptual):
    with pytest.raises(InputError, match=r"expected \[B, 3, H, W\]"):
        tiny_identity(torch.zeros(1, 4, 32, 32))
    with pytest.raises(InputError, match="from 16 px on"):
        tiny_perceptual.layers(torch.zeros(1, 3, 8, 8))
