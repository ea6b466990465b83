"""e4e and pixel2style2pixel encoders: converted, loaded, and equal to a second, functional writing of the papers."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from semantic_edit.models import CheckpointError, InputError, StyleGAN2, StyleGAN2Config, load_generator
from semantic_edit.models.convert.rosinality import nvlabs_name
from semantic_edit.models.encoders.encoder import load_encoder, save_encoder
from semantic_edit.models.encoders.irse import IrseConfig, IrseEncoder
from semantic_edit.models.gan.generator import GanGenerator

PEER = os.environ.get("E4E_PATH")  # a checkout of omertov/encoder4editing
WIDTHS, UNITS = (6, 8, 10, 12, 16), (2, 1, 2, 1)


def made(**fields) -> IrseEncoder:
    """A small encoder in which nothing is zero or one."""
    config = IrseConfig(**{"num_layers": 8, "size": (64, 64), "widths": WIDTHS, "units": UNITS, "w_dim": 16, **fields})
    encoder = IrseEncoder(config).requires_grad_(False)
    rng = torch.Generator().manual_seed(5)
    for name, tensor in encoder.state_dict().items():
        noise = torch.randn(tensor.shape, generator=rng) * (0.2 if tensor.ndim < 3 else 0.02)
        tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else tensor + noise)
    return encoder.eval()


def functional(state: dict[str, torch.Tensor], x: torch.Tensor, heads: str, rows: int) -> torch.Tensor:
    """The same network from its state dict alone."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + (state[f"{name}.bias"] - mean * scale)[:, None, None]

    def prelu(x, name):
        return torch.where(x > 0, x, x * state[f"{name}.weight"][:, None, None])

    x = prelu(norm(F.conv2d(x, state["input_layer.0.weight"], padding=1), "input_layer.1"), "input_layer.2")
    maps, index = [], 0
    for count in UNITS:
        for k in range(count):
            base, stride = f"body.{index}.", 1 if k else 2
            short = x[:, :, ::stride, ::stride]
            if f"{base}shortcut_layer.0.weight" in state:
                short = norm(F.conv2d(short, state[f"{base}shortcut_layer.0.weight"]), f"{base}shortcut_layer.1")
            y = F.conv2d(norm(x, f"{base}res_layer.0"), state[f"{base}res_layer.1.weight"], padding=1)
            y = F.conv2d(prelu(y, f"{base}res_layer.2"), state[f"{base}res_layer.3.weight"], stride=stride, padding=1)
            y = norm(y, f"{base}res_layer.4")
            squeeze = F.relu(F.conv2d(y.mean((2, 3), keepdim=True), state[f"{base}res_layer.5.fc1.weight"]))
            y = y * F.conv2d(squeeze, state[f"{base}res_layer.5.fc2.weight"]).sigmoid()
            x, index = y + short, index + 1
        maps.append(x)

    def linear(x, name):
        return x @ state[f"{name}.weight"].t() / x.shape[1] ** 0.5 + state[f"{name}.bias"]

    if heads == "single":
        return linear(maps[3].mean((2, 3)), "linear")[:, None].repeat(1, rows, 1) + state["w_mean"]

    def pyramid(small, large, name):
        lateral = F.conv2d(large, state[f"{name}.weight"], state[f"{name}.bias"])
        return F.interpolate(small, lateral.shape[2:], mode="bilinear", align_corners=True) + lateral

    middle = pyramid(maps[3], maps[2], "latlayer1")
    fine = pyramid(middle, maps[1], "latlayer2")
    codes = []
    for row in range(rows):
        y = maps[3] if row < 3 else middle if row < 7 else fine
        for k in range(0, 20, 2):
            name = f"styles.{row}.convs.{k}"
            if f"{name}.weight" in state:
                y = F.leaky_relu(F.conv2d(y, state[f"{name}.weight"], state[f"{name}.bias"], stride=2, padding=1), 0.01)
        code = linear(y.flatten(1), f"styles.{row}.linear")
        codes.append(code + codes[0] if heads == "e4e" and row else code)
    return torch.stack(codes, 1) + state["w_mean"]


def checkpoint(encoder: IrseEncoder, **more) -> dict:
    """What the projects' training loops save."""
    state = {f"encoder.{n}": t for n, t in encoder.state_dict().items() if n != "w_mean"}
    state["encoder.input_layer.1.num_batches_tracked"] = torch.tensor(7)
    kind = {"e4e": "Encoder4Editing", "psp": "GradualStyleEncoder", "single": "BackboneEncoder"}[encoder.config.heads]
    options = {"encoder_type": kind, "start_from_latent_avg": True, "dataset_type": "ffhq_encode"}
    return {"state_dict": state, "latent_avg": encoder.w_mean, "opts": options, **more}


def decoder(rows: int = 8) -> tuple[StyleGAN2, dict[str, torch.Tensor]]:
    """A generator of as many rows, and its tensors as the same file keeps them."""
    config = StyleGAN2Config(z_dim=16, w_dim=16, channels=(6,) * (rows // 2), mapping_layers=2)
    network = StyleGAN2(config, torch.Generator().manual_seed(1)).requires_grad_(False)
    theirs = [f"{group}.{k}.{suffix}" for group in ("style",) for k in (1, 2) for suffix in ("weight", "bias")]
    parts = ("conv.weight", "conv.modulation.weight", "conv.modulation.bias", "noise.weight", "activate.bias", "bias")
    places = ["conv1", "to_rgb1", *(f"convs.{k}" for k in range(rows)), *(f"to_rgbs.{k}" for k in range(rows))]
    theirs += ["input.input", *(f"{layer}.{suffix}" for layer in places for suffix in parts)]
    theirs += [f"noises.noise_{k}" for k in range(rows)]
    mine = network.state_dict()
    decoder = {f"decoder.{name}": mine[nvlabs_name(name)] for name in theirs if nvlabs_name(name) in mine}
    assert len(decoder) >= len([n for n in mine if not n.endswith(("resample_filter", "w_avg"))])
    return network, decoder


@pytest.mark.parametrize("heads", ["e4e", "psp", "single"])
def test_it_equals_the_functional_writing(heads):
    encoder = made(heads=heads)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    codes = encoder(x)
    assert codes.shape == (2, 8, 16) and float(codes.std()) > 0.1
    assert float((codes - functional(encoder.state_dict(), x, heads, 8)).abs().max()) < 2e-5


@pytest.mark.parametrize("heads", ["e4e", "psp"])
@pytest.mark.parametrize("rows", [4, 8, 18])
def test_files_become_the_same_encoder(convert, heads, rows):
    encoder = made(heads=heads, num_layers=rows)
    path, said = convert(checkpoint(encoder), component="encoder")
    loaded = load_encoder(path)
    x = torch.rand(1, 3, 80, 80) * 2 - 1
    assert torch.allclose(loaded(x), encoder(x), rtol=1e-4, atol=1e-5) and loaded.config == encoder.config
    assert f"{heads} encoder" in said and "64x64" in said and f"{rows} rows" in said and "no generator" in said


def test_the_generator_of_the_same_file_gives_the_family(convert, tmp_path):
    network, theirs = decoder()
    encoder = made()
    content = checkpoint(encoder)
    content["state_dict"] |= theirs
    path, said = convert(content, component="encoder")
    generator_path, message = convert(content, "both.pt", overwrite=True) if path.unlink() is None else None
    generator = load_generator(generator_path)
    assert generator.family in said and "--component encoder" in message
    path, _ = convert(content, "again.pt", component="encoder", overwrite=True)
    loaded = load_encoder(path)
    assert loaded.family == generator.family
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    assert loaded.encode(x, generator).shape == (3, 8, 16)
    stranger = GanGenerator(generator.network, "stylegan2-another", "stranger")
    with pytest.raises(InputError, match="belongs to the generator family"):
        loaded.encode(x, stranger)


def test_one_code_for_all_rows_needs_the_decoder(convert):
    encoder = made(heads="single")
    content = checkpoint(encoder)
    with pytest.raises(CheckpointError, match="no decoder"):
        convert(content, component="encoder")
    content["state_dict"] |= decoder()[1]
    loaded = load_encoder(convert(content, component="encoder")[0])
    # Such a file cannot tell the size that it was trained at by its heads: all published ones see 256 px.
    assert loaded.config.heads == "single" and loaded.config.size == (256, 256) and loaded.config.num_layers == 8


def test_the_mean_may_come_from_the_generator(convert):
    content = checkpoint(made())
    del content["latent_avg"]
    path, said = convert(content, component="encoder")
    loaded, (network, _) = load_encoder(path), decoder()
    network.mapping.w_avg.fill_(3.0)
    x = torch.rand(1, 3, 64, 64)
    generator = GanGenerator(network, "", "mean of three")
    assert "that of the generator is taken" in said
    assert torch.allclose(loaded.encode(x, generator), loaded(x) + 3, atol=1e-5)


def test_a_mean_of_one_row_and_options_of_a_namespace(convert):
    encoder = made(heads="psp")
    encoder.w_mean.copy_(encoder.w_mean[:1].expand(8, -1))
    content = checkpoint(encoder)
    content |= {"latent_avg": encoder.w_mean[0], "opts": argparse.Namespace(**content["opts"])}
    loaded = load_encoder(convert(content, component="encoder")[0])
    assert loaded.config.heads == "psp" and torch.equal(loaded.w_mean, encoder.w_mean)


def test_codes_may_be_no_offsets(convert):
    content = checkpoint(made())
    content["opts"]["start_from_latent_avg"] = False
    loaded = load_encoder(convert(content, component="encoder")[0])
    assert float(loaded.w_mean.abs().max()) == 0 and not loaded.config.adds_mean


def test_cars_are_seen_in_their_own_aspect(convert):
    content = checkpoint(made())
    content["opts"]["dataset_type"] = "cars_encode"
    path, _ = convert(content, component="encoder")
    assert load_encoder(path).config.size == (48, 64)
    encoder = made(size=(48, 64))
    x = torch.rand(1, 3, 64, 64)
    assert torch.allclose(encoder(x), encoder(x[:, :, 8:56]), atol=1e-6)


WRONG = {
    "a missing head part": (lambda s: s.pop("encoder.styles.3.linear.bias"), "lacks styles.3.linear.bias"),
    "a stranger": (lambda s: s.update({"encoder.extra": torch.ones(2)}), "has extra"),
    "a backbone alone": (lambda s: [s.pop(n) for n in list(s) if "styles" in n], "backbone alone"),
    "another shape": (lambda s: s.update({"encoder.latlayer2.weight": torch.ones(16, 9, 1, 1)}), "latlayer2.weight"),
    "too few stages": (lambda s: [s.pop(n) for n in list(s) if ".body.5." in n], "four stages"),
    "a hole in the body": (lambda s: [s.pop(n) for n in list(s) if ".body.2." in n], "lacks"),
    "not a number": (lambda s: s["encoder.latlayer1.bias"].fill_(float("nan")), "not a number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused(convert, case):
    change, words = WRONG[case]
    content = checkpoint(made())
    content["state_dict"] = {name: tensor.clone() for name, tensor in content["state_dict"].items()}
    change(content["state_dict"])
    with pytest.raises(CheckpointError, match=words) as problem:
        convert(content, component="encoder")
    assert str(problem.value).endswith("Nothing was written.")


def test_components_that_are_not_there(convert):
    with pytest.raises(CheckpointError, match="no generator of a known layout"):
        convert(checkpoint(made()), component="generator")
    with pytest.raises(CheckpointError, match="choose encoder, generator"):
        convert(checkpoint(made()), component="oracle")
    with pytest.raises(CheckpointError, match="no encoder of a known layout"):
        convert({"g_ema": {}}, component="encoder")


def test_hostile_content_beside_the_weights_is_refused(refuses, forge):
    state = {"encoder.input_layer.0.weight": forge.Call(forge.Global("os", "system"), ("true",))}
    refuses(forge.dumps({"state_dict": state, "opts": {}}), "refused", "os.system")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "lacks num_layers"),
        ({"num_layers": "8"}, "num_layers"),
        ({"num_layers": 8, "depth": 3}, "depth"),
        ({"num_layers": 8, "heads": "other"}, "e4e, psp, single"),
        ({"num_layers": 8, "widths": [1, 2]}, "five widths"),
        ({"num_layers": 8, "units": [1, 1, 1, 4000]}, "beyond any size"),
        ({"num_layers": 8, "size": [100, 100]}, "multiples of 16"),
        ({"num_layers": 8, "size": [64.0, 64]}, "size"),
        ({"num_layers": 8, "adds_mean": 1}, "adds_mean"),
    ],
)
def test_a_wrong_header_is_a_sentence(values, words):
    with pytest.raises(CheckpointError, match=words):
        IrseConfig.from_json({"kind": "irse", **values})


@pytest.mark.skipif(PEER is None, reason="E4E_PATH names no checkout of the public code")
@pytest.mark.parametrize("kind", ["Encoder4Editing", "GradualStyleEncoder"])
def test_parity_with_the_public_code(convert, monkeypatch, kind):
    monkeypatch.syspath_prepend(PEER)
    operations = types.ModuleType("models.stylegan2.op")  # compiled code that the encoder does not use
    operations.FusedLeakyReLU, operations.fused_leaky_relu, operations.upfirdn2d = torch.nn.Module, None, None
    monkeypatch.setitem(sys.modules, "models.stylegan2.op", operations)
    public = importlib.import_module("models.encoders.psp_encoders")
    options = argparse.Namespace(
        stylegan_size=64, start_from_latent_avg=True, encoder_type=kind, dataset_type="ffhq_encode"
    )
    torch.manual_seed(0)
    peer = getattr(public, kind)(50, "ir_se", options).eval()
    with torch.no_grad():
        for name, tensor in [*peer.named_parameters(), *peer.named_buffers()]:
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(0, 0.2)
        mean = torch.randn(peer.style_count, 512)
        state = {f"encoder.{name}": tensor for name, tensor in peer.state_dict().items()}
        path, _ = convert({"state_dict": state, "latent_avg": mean, "opts": vars(options)}, component="encoder")
        x = torch.rand(1, 3, 256, 256) * 2 - 1
        assert float((load_encoder(path)(x) - peer(x) - mean).abs().max()) < 5e-5


@pytest.mark.parametrize("heads", ["e4e", "psp", "single"])
def test_they_load_as_nodes_run(run_node, headless_host, tiny_generator, heads):
    encoder = made(heads=heads, own_mean=heads != "psp")
    encoder.family = tiny_generator.family
    save_encoder(headless_host.model_folders("encoders")[0] / "shared.safetensors", encoder)
    photos = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    inputs = dict(generator=tiny_generator, images=photos, file="shared.safetensors")
    (latents,), _ = run_node("EncodeImages", **inputs)
    expected = encoder.encode(photos.movedim(-1, 1) * 2 - 1, tiny_generator)
    torch.testing.assert_close(latents.codes, expected, atol=1e-5, rtol=1e-4)
    assert not any(tensor.is_inference() for tensor in _loaded(headless_host).state_dict().values())


def _loaded(host):
    with torch.inference_mode():
        return load_encoder(host.model_folders("encoders")[0] / "shared.safetensors")
