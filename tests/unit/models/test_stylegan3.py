"""StyleGAN3 against its definition in numpy, layer by layer, and what editing asks of every generator."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from semantic_edit.kernels import use_kernels
from semantic_edit.models import CheckpointError, InputError, StyleGAN3, StyleGAN3Config, load_generator, save_generator
from semantic_edit.models.files.describe import describe_file
from semantic_edit.models.gan.generator import family_fingerprint
from semantic_edit.models.gan.hooks import FunctionHook
from semantic_edit.models.gan.layer_blend import LayerBlend
from semantic_edit.models.gan.synthesis_run import LayerState, SynthesisOptions

CONFIGURATIONS = {"T": {}, "R": {"kernel": 1, "radial": True, "channels": (16, 16, 14, 14, 10, 10)}}


def convolved(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A correlation wherever the kernel meets x at all: [B, C, h, w], [B, O, C, k, k]."""
    size = weight.shape[-1]
    x = np.pad(x, ((0, 0), (0, 0), (size - 1, size - 1), (size - 1, size - 1)))
    out = x.shape[-1] - size + 1
    total = np.zeros((x.shape[0], weight.shape[1], out, out))
    for i in range(size):
        for j in range(size):
            total += np.einsum("bchw,boc->bohw", x[:, :, i : i + out, j : j + out], weight[:, :, :, i, j])
    return total


def resampled(x: np.ndarray, taps: np.ndarray, up: int, down: int, begin: int, end: int) -> np.ndarray:
    """Insert zeros, pad, filter, keep every ``down``-th: the textbook's polyphase resampling, one tap at a time."""
    taps = np.outer(taps, taps) if taps.ndim == 1 else taps
    inserted = np.zeros((*x.shape[:2], x.shape[2] * up, x.shape[3] * up))
    inserted[:, :, ::up, ::up] = x * up * up
    z = np.pad(inserted, ((0, 0), (0, 0), (max(begin, 0), max(end, 0)), (max(begin, 0), max(end, 0))))
    if begin < 0:
        z = z[:, :, -begin:, -begin:]
    if end < 0:
        z = z[:, :, :end, :end]
    size = len(taps)
    out = z.shape[-1] - size + 1
    total = np.zeros((*x.shape[:2], out, out))
    for i in range(size):
        for j in range(size):
            total += taps[size - 1 - i, size - 1 - j] * z[:, :, i : i + out, j : j + out]
    return total[:, :, ::down, ::down]


def by_hand(network: StyleGAN3, ws: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Every layer's features and the picture, in float64, from the paper's words."""
    config, state = network.config, {n: t.numpy().astype(np.float64) for n, t in network.synthesis.state_dict().items()}

    def styled(name: str, row: int) -> np.ndarray:
        weight = state[f"{name}.affine.weight"]
        return ws[:, row] @ weight.T / np.sqrt(weight.shape[1]) + state[f"{name}.affine.bias"]

    first = config.sampling()[0]
    size, features = first.size, []
    x = np.zeros((len(ws), config.channels[0], size, size))
    for b, (cosine, sine, shift_x, shift_y) in enumerate(styled("input", 0)):
        length = np.hypot(cosine, sine)
        turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, length]]) / length
        move = np.array([[1, 0, -shift_x / length], [0, 1, -shift_y / length], [0, 0, 1]])
        matrix = turn @ move @ state["input.transform"]
        for c, frequency in enumerate(state["input.freqs"]):
            here = frequency @ matrix[:2, :2]
            phase = state["input.phases"][c] + frequency @ matrix[:2, 2]
            fade = np.clip(1 - (np.hypot(*here) - first.cutoff) / (first.rate / 2 - first.cutoff), 0, 1)
            for i in range(size):
                for j in range(size):
                    place = (np.array([j, i]) - (size - 1) / 2) / first.rate
                    x[b, c, i, j] = fade * np.sin(2 * np.pi * (here @ place + phase))
    x = np.einsum("oc,bchw->bohw", state["input.weight"] / np.sqrt(config.channels[0]), x)
    features.append(x)
    for row in range(1, config.num_layers - 1):
        name = network.synthesis.layers[row][1]
        layer = network.synthesis.conv(row)
        weight, style = state[f"{name}.weight"], styled(name, row)
        weight = weight[None] * style[:, None, :, None, None]
        weight = weight / np.sqrt((weight**2).sum(axis=(2, 3, 4), keepdims=True))
        y = convolved(x, weight) / np.sqrt(state[f"{name}.magnitude_ema"]) + state[f"{name}.bias"][None, :, None, None]
        up_taps, down_taps = (f.double().numpy() for f in (layer.up_filter, layer.down_filter))
        y = resampled(y, up_taps, layer.up, 1, *layer.padding)
        y = np.clip(np.where(y > 0, y, 0.2 * y) * np.sqrt(2), -config.conv_clamp, config.conv_clamp)
        x = resampled(y, down_taps, 1, layer.down, 0, 0)
        features.append(x)
    name = network.synthesis.colour_name
    weight = state[f"{name}.weight"][None] * styled(name, -1)[:, None, :, None, None] / np.sqrt(config.channels[-1])
    y = convolved(x, weight) / np.sqrt(state[f"{name}.magnitude_ema"]) + state[f"{name}.bias"][None, :, None, None]
    return features, np.clip(y, -config.conv_clamp, config.conv_clamp) * config.output_scale


def codes(network: StyleGAN3, count: int = 2) -> torch.Tensor:
    config = network.config
    return torch.randn(count, config.num_layers, config.w_dim, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("clamp", [256.0, 0.8])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_it_equals_the_definition_by_hand(make_stylegan3, configuration, clamp):
    network = make_stylegan3(conv_clamp=clamp, **CONFIGURATIONS[configuration])
    assert network.config.configuration == configuration
    ws = codes(network)
    features, picture = by_hand(network, ws.numpy().astype(np.float64))
    run = network.synthesis(ws, SynthesisOptions(want_features=range(6)))
    assert run.image.shape == (2, 3, 32, 32) and list(run.features) == list(range(6))
    assert picture.std() > 0.02
    for layer, expected in enumerate(features):
        assert run.features[layer].shape[1:] == network.synthesis.layer_size(layer)
        assert np.abs(run.features[layer].numpy() - expected).max() < 5e-5
    assert np.abs(run.image.numpy() - picture).max() < 5e-5


# The published 1024 px networks, as their layers are named: index, size, channels.
PUBLISHED = (
    "L0_36_512 L1_36_512 L2_52_512 L3_52_512 L4_84_512 L5_148_512 L6_148_512 L7_276_323 L8_276_203 L9_532_128 "
    "L10_1044_81 L11_1044_51 L12_1044_32 L13_1024_32 L14_1024_3"
)


def test_the_published_network_has_its_published_sizes():
    names = PUBLISHED.split()
    channels = (512, *(int(name.split("_")[2]) for name in names[:-1]))
    config = StyleGAN3Config(z_dim=512, w_dim=512, image_size=1024, channels=channels)
    assert (config.num_layers, config.resolution, config.configuration) == (16, (1024, 1024), "T")
    with torch.device("meta"):
        synthesis = StyleGAN3(config).synthesis
    assert [*(name for _, name in synthesis.layers[1:]), synthesis.colour_name] == names
    assert [synthesis.margin(layer) for layer in (0, 7, 13, 14)] == [10, 10, 10, 0]
    assert synthesis.conv(14).up_filter.is_cpu, "filters are numbers wherever the network is"


def test_a_sketch_imports_no_symbolic_algebra():
    """Arithmetic on the meta device would, for seconds, before a file's weights are read."""
    sketch = (
        "import sys, torch; from semantic_edit.models import StyleGAN3, StyleGAN3Config\n"
        "with torch.device('meta'): StyleGAN3(StyleGAN3Config(8, 8, 32, (8,) * 6, kernel=1, radial=True))\n"
        "sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", sketch], check=False).returncode == 0


@pytest.mark.parametrize("layer", range(6))
def test_a_run_goes_on_from_any_layer(tiny_stylegan3_network, layer):
    ws, synthesis = codes(tiny_stylegan3_network), tiny_stylegan3_network.synthesis
    stopped = synthesis(ws, SynthesisOptions(stop_layer=layer))
    assert stopped.image is None and stopped.state.layer == layer
    seen = []
    hook = FunctionHook(lambda k, x: seen.append(k) or x)
    assert torch.equal(synthesis(ws, SynthesisOptions(resume=stopped.state, hook=hook)).image, synthesis(ws).image)
    assert seen == list(range(layer + 1, 6))


def test_gradients_reach_code_and_features(tiny_stylegan3_network):
    ws = codes(tiny_stylegan3_network, 1).double()
    double = StyleGAN3(tiny_stylegan3_network.config).requires_grad_(False).double()
    double.load_state_dict(tiny_stylegan3_network.state_dict())
    weight = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    steps = torch.zeros(14, 7, 16, dtype=torch.float64)
    for row in range(7):  # every row, the one that turns and shifts the picture too
        steps[2 * row, row, 3], steps[2 * row + 1, row, 3] = 1e-6, -1e-6
    with use_kernels("fast"):  # double precision would take the reference, which is slow
        losses = (double.synthesis(ws + steps).image * weight).sum(dim=(1, 2, 3))
        leaf = ws.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad((double.synthesis(leaf).image * weight).sum(), leaf)
    slopes = (losses[::2] - losses[1::2]) / 2e-6
    assert float((slopes - gradient[0, :, 3]).abs().max()) < 1e-4 * float(slopes.abs().max())
    assert float(slopes.abs().min()) > 0
    state = tiny_stylegan3_network.synthesis(ws.float(), SynthesisOptions(stop_layer=2)).state
    features = state.features.clone().requires_grad_(True)
    options = SynthesisOptions(resume=LayerState(2, features, None))
    tiny_stylegan3_network.synthesis(ws.float(), options).image.sum().backward()
    assert float(features.grad.abs().sum()) > 0


def test_a_batch_is_its_pictures(tiny_stylegan3_network):
    """The published code brings styles to unit size over the whole batch; that must not tie pictures together."""
    ws = codes(tiny_stylegan3_network, 3)
    single = torch.cat([tiny_stylegan3_network.synthesis(w[None]).image for w in ws])
    assert torch.allclose(tiny_stylegan3_network.synthesis(ws).image, single, atol=1e-6)


def test_it_is_a_generator_like_any_other(tiny_stylegan3):
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    w = tiny_stylegan3.map(z, truncation=0.5)
    assert w.shape == (3, 7, 16)
    assert (tiny_stylegan3.num_layers, tiny_stylegan3.w_dim, tiny_stylegan3.label_dim) == (7, 16, 0)
    assert tiny_stylegan3.family.startswith("stylegan3-32x32-") and not tiny_stylegan3.codes_are_noise
    assert torch.equal(tiny_stylegan3.synthesize(w, noise=5), tiny_stylegan3.synthesize(w, noise="none"))
    assert torch.allclose(tiny_stylegan3.synthesize(w, chunk=1), tiny_stylegan3.synthesize(w), atol=1e-6)
    assert torch.equal(tiny_stylegan3.w_mean, tiny_stylegan3.network.mapping.w_avg)
    # Features are handed out without their margins.
    assert tiny_stylegan3.features(w, [0, 2, 5])[2].shape == (3, 10, 16, 16)


def test_it_is_written_read_and_described(tmp_path, tiny_stylegan3_network):
    path = save_generator(tmp_path / "g.safetensors", tiny_stylegan3_network)
    generator = load_generator(path)
    ws = codes(tiny_stylegan3_network)
    assert torch.equal(generator.synthesize(ws), tiny_stylegan3_network.synthesis(ws).image)
    assert generator.family == family_fingerprint(tiny_stylegan3_network)
    assert "StyleGAN3, configuration T" in describe_file(path)
    assert generator.network.config == tiny_stylegan3_network.config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SynthesisOptions(stop_resolution=16), "full height of 32 alone"),
        (SynthesisOptions(stop_layer=9), "layers 0 to 5"),
        (SynthesisOptions(noise="loud"), "Unknown noise"),
        (SynthesisOptions(blend=LayerBlend(torch.zeros(2, 7, 16), [None] * 7)), "one code for the whole picture"),
    ],
)
def test_what_it_cannot_do_is_said(tiny_stylegan3_network, options, words):
    with pytest.raises(InputError, match=words):
        tiny_stylegan3_network.synthesis(codes(tiny_stylegan3_network), options)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"image_size": 48}, "power of two"),
        ({"channels": (8, 8)}, "beyond anything published"),
        ({"kernel": 5}, "kernels of 1 or 3"),
        ({"critical_layers": 5}, "no StyleGAN3"),
        ({"filter_size": 5}, "even number"),
        ({"first_stopband": 1.0}, "stopbands lie above"),
        ({"output_scale": 0.0}, "positive numbers"),
    ],
)
def test_damaged_dimensions_are_refused(fields, words):
    defaults = {"z_dim": 8, "w_dim": 8, "image_size": 32, "channels": (8, 8, 8, 8, 8, 8)}
    with pytest.raises(CheckpointError, match=words):
        StyleGAN3Config(**{**defaults, **fields})


@pytest.mark.parametrize("change", [{"image_size": True}, {"channels": "8"}, {"bogus": 1}, {"output_scale": "x"}])
def test_damaged_headers_are_refused(tiny_stylegan3_network, change):
    with pytest.raises(CheckpointError, match=next(iter(change))):
        StyleGAN3Config.from_json({**tiny_stylegan3_network.config.to_json(), **change})
