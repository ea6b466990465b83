"""Face recognisers, VGG16 and LPIPS are read by all their published names, and refused by name where they are not."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.models import CheckpointError
from semantic_edit.models.losses.files import load_identity, load_perceptual
from semantic_edit.models.losses.perceptual import COMPARED, CONVOLUTIONS


def equal(loaded, network) -> bool:
    mine, theirs = loaded.state_dict(), network.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("component", [None, "identity"])
@pytest.mark.parametrize("prefix", ["", "module.", "facenet."])
def test_face_recognisers_are_read(convert, tiny_identity, component, prefix):
    state = {f"{prefix}{name}": tensor for name, tensor in tiny_identity.state_dict().items()}
    state[f"{prefix}input_layer.1.num_batches_tracked"] = torch.tensor(7)
    path, said = convert(state, "model_ir_se50.pth", component=component)
    assert equal(load_identity(path), tiny_identity) and "face recogniser of 4 units" in said


def lpips(network, learned: bool = True, dropout: bool = True) -> dict:
    """As LPIPS saves itself: five slices, its constants, and its weights twice."""
    slices = [number for number in COMPARED]
    state = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}
    for name, tensor in network.state_dict().items():
        parts = name.split(".")
        if parts[0] == "features":
            number = 1 + next(k for k, last in enumerate(slices) if int(parts[1]) <= last)
            state[f"net.slice{number}.{parts[1]}.{parts[2]}"] = tensor
        elif learned:
            for pattern in ("lin{}", "lins.{}"):
                state[f"{pattern.format(parts[0][3:])}.model.{int(dropout)}.weight"] = tensor[None, :, None, None]
    return state


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("component", [None, "perceptual"])
def test_lpips_is_read(convert, tiny_perceptual, component, dropout):
    path, said = convert(lpips(tiny_perceptual, dropout=dropout), "lpips.pt", component=component)
    assert equal(load_perceptual(path), tiny_perceptual) and "LPIPS on VGG16" in said


def test_vgg_alone_counts_every_channel_alike(convert, tiny_perceptual):
    state = {n: t for n, t in tiny_perceptual.state_dict().items() if n.startswith("features.")}
    state["classifier.0.weight"] = torch.ones(4, 4)
    path, said = convert(state, "vgg16.pth")
    loaded = load_perceptual(path)
    assert torch.equal(loaded.lin2, torch.ones_like(tiny_perceptual.lin2)) and "every channel counts alike" in said
    assert torch.equal(loaded.features["28"].bias, tiny_perceptual.features["28"].bias)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("net.slice3.12.weight"), "lacks features.12.weight"),
        (lambda s: s.pop("lin3.model.1.weight") + s.pop("lins.3.model.1.weight"), "weights of 4 layers"),
        (lambda s: s["lin0.model.1.weight"].neg_(), "never negative"),
        (lambda s: s.update({"net.slice1.0.weight": torch.ones(5, 3, 5, 5)}), "has shape"),
    ],
)
def test_what_is_no_lpips_is_named(convert, tiny_perceptual, change, words):
    state = {name: tensor.clone() for name, tensor in lpips(tiny_perceptual).items()}
    state["lins.0.model.1.weight"] = state["lin0.model.1.weight"]
    change(state)
    with pytest.raises(CheckpointError, match=words):
        convert(state, "lpips.pt")


def test_the_weights_alone_are_no_network(convert, tiny_perceptual):
    alone = {name: tensor for name, tensor in lpips(tiny_perceptual).items() if name.startswith("lin")}
    with pytest.raises(CheckpointError, match="without the network they belong to"):
        convert(alone, "vgg.pth")


def test_another_component_is_not_taken_for_it(convert, tiny_identity, tiny_perceptual):
    with pytest.raises(CheckpointError, match="no perceptual network of a known layout"):
        convert(tiny_identity.state_dict(), "model_ir_se50.pth", component="perceptual")
    with pytest.raises(CheckpointError, match="no identity network of a known layout"):
        convert(lpips(tiny_perceptual), "lpips.pt", component="identity")
    assert len(CONVOLUTIONS) == 13


@pytest.mark.parametrize("name", ["output_layer.4.bias", "body.1.res_layer.3.weight", "input_layer.2.weight"])
def test_what_is_no_face_recogniser_is_named(convert, tiny_identity, name):
    state = {key: tensor for key, tensor in tiny_identity.state_dict().items() if key != name}
    with pytest.raises(CheckpointError, match="not a face recogniser.*lacks"):
        convert(state, "model.pth", component="identity")
