"""Networks of no known layout are refused by what they look like; wrappers around known ones are stripped."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from semantic_edit.models import CheckpointError, load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.encoders.irse import IrseConfig, IrseEncoder

ones = torch.ones


def stylegan3(prefix: str = "") -> dict[str, torch.Tensor]:
    names = {
        "mapping.fc0.weight": ones(16, 16), "mapping.fc0.bias": ones(16), "mapping.w_avg": ones(16),
        "synthesis.input.transform": ones(3, 3), "synthesis.input.freqs": ones(16, 2),
        "synthesis.L0_36_16.weight": ones(16, 16, 3, 3), "synthesis.L0_36_16.magnitude_ema": ones([]),
    }  # fmt: skip
    return {prefix + name: tensor for name, tensor in names.items()}


def over_stylegan3() -> dict:
    """As restyle's encoders of StyleGAN3 are saved: six channels in, and a mean of W that is no direction."""
    encoder = {"encoder.input_layer.0.weight": ones(8, 6, 3, 3), "encoder.styles.0.linear.weight": ones(16, 16)}
    encoder["encoder.body.0.res_layer.1.weight"] = ones(8, 8, 3, 3)
    return {"state_dict": encoder | stylegan3("decoder."), "latent_avg": ones(16, 16), "opts": {"n_iters": 3}}


def resnet_over_stylegan3() -> dict:
    encoder = {"encoder.conv1.weight": ones(8, 6, 7, 7), "encoder.bn1.running_mean": ones(8)}
    return {"state_dict": encoder | stylegan3("decoder."), "latent_avg": ones(16, 16)}


CLASSIFIER = {"layer1.0.conv1.weight": ones(8, 3, 3, 3), "fc.weight": ones(2, 32), "fc.bias": ones(2)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (over_stylegan3(), "an encoder over a StyleGAN3 generator"),
        (resnet_over_stylegan3(), "an encoder over a StyleGAN3 generator"),
        (stylegan3(), "a StyleGAN3 generator"),
        ({"G_ema": stylegan3()}, "a StyleGAN3 generator"),
        ({"g_mapping.dense0.weight": ones(16, 16), "g_synthesis.blocks.4x4.const": ones(1, 16, 4, 4)}, "a StyleGAN1"),
        ({"generator": {"style.1.linear.weight": ones(16, 16), "mean": ones(16)}}, "a StyleGAN1 generator"),
        ({"model": CLASSIFIER, "loss_weights": ones(16)}, "a classifier"),
        ({**CLASSIFIER, "loss_weights": ones(16)}, "a classifier"),
        ({"weight": ones(1, 16), "bias": ones(1)}, "the weights of a network"),
        ({"fc.weight": ones(1, 512)}, "a classifier"),
        ({"unet.lora_up.weight": ones(16, 4), "unet.lora_down.weight": ones(4, 16)}, "a LoRA"),
        (
            {"backbone.synthesis.b4.const": ones(16, 4, 4), "superresolution.block0.const": ones(16)},
            "three-dimensional",
        ),
        ({"D": {"b4.out.weight": ones(1, 16)}, "step": 3}, "a discriminator"),
        ({"text_model.embeddings.token_embedding.weight": ones(32, 16)}, "a CLIP model"),
        ({"latent_avg": ones(16)}, "nor a direction, nor codes"),
        ({"statistics": ones(16), "step": 3}, "nor a direction, nor codes"),
        ({"direction": ones(16), "layer.weight": ones(16, 16)}, "the weights of a network"),
        ({"direction": ones(16), "secret": ones(16)}, "several arrays"),
        ({"lat_comp": ones(4, 1, 16), "other": ones(16)}, "no analysis of W"),
        ({"w": ones(1, 6, 16), "fc.weight": ones(4, 16)}, "a classifier"),
        ({}, "an empty dictionary"),
    ],
)
def test_other_content_is_refused_by_what_it_looks_like(convert, tmp_path, content, words):
    with pytest.raises(CheckpointError, match=words):
        convert(content, "model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_an_archive_of_statistics_is_no_direction(convert):
    buffer = io.BytesIO()
    np.savez(buffer, mu=np.ones(2048, np.float32), sigma=np.ones((2048, 2048), np.float32))  # as FID keeps them
    with pytest.raises(CheckpointError, match="several arrays"):
        convert(buffer.getvalue(), "stats.npz")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module.", "G_ema.module."])
@pytest.mark.parametrize("nested", [(), ("state_dict",), ("state_dict", "G_ema"), ("model", "state_dict")], ids=str)
def test_wrappers_are_stripped(convert, make_network, prefix, nested):
    network = make_network()
    content = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    for key in nested:
        content = {key: content}
    path, _ = convert(content, "compiled.pt")
    state = load_generator(path).network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())


def test_wrappers_inside_a_network_are_stripped(convert, make_network):
    """Only the synthesis was compiled, or lay on several cards."""
    network = make_network()
    content = {name.replace("synthesis.", "synthesis._orig_mod."): t for name, t in network.state_dict().items()}
    state = load_generator(convert(content, "compiled.pt")[0]).network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
    with pytest.raises(CheckpointError, match="two tensors for"):
        convert(content | dict(network.state_dict()), "both.pt", overwrite=True)


def test_a_wrapped_encoder_keeps_its_values(convert):
    encoder = IrseEncoder(IrseConfig(4, size=(32, 32), widths=(2, 2, 3, 4, 5), units=(1, 1, 1, 1), w_dim=8))
    state = {f"encoder._orig_mod.{n}": t for n, t in encoder.requires_grad_(False).state_dict().items()}
    state.pop("encoder._orig_mod.w_mean")
    options = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True}
    path, _ = convert({"state_dict": state, "latent_avg": encoder.w_mean, "opts": options}, "e4e.pt")
    read = load_encoder(path).state_dict()
    assert all(torch.equal(read[name], tensor) for name, tensor in encoder.state_dict().items())


def test_a_tensor_that_no_generator_has_is_named(convert, make_network):
    content = {**make_network().state_dict(), "superres.conv.weight": ones(3, 3)}
    with pytest.raises(CheckpointError, match="superres.conv.weight"):
        convert(content, "more.pt")
