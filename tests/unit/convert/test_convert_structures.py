"""Readers of layouts meet content of any shape: values replaced, removed and renamed at random places."""

from __future__ import annotations

import io
import random
from collections import Counter

import pytest
import torch
from semantic_edit.models import CheckpointError
from semantic_edit.models.convert.assemble import GeneratorWeights, build_generator
from semantic_edit.models.convert.containers import OpenedFile, open_bytes
from semantic_edit.models.convert.convert import identify
from semantic_edit.models.convert.stored import ElementType, Name, Opaque, StoredArray

NAMES = [
    "weight", "bias", "mapping", "synthesis", "b4", "b0", "b123456789", "conv0", "torgb", "fc99", "w_avg", "_modules",
    "style.1.weight", "style.0.weight", "convs.77.conv.weight", "to_rgbs.99.conv.weight", "noises.noise_99", "", None,
    5, "synthesis.b16.conv1.weight", "mapping.fc3.weight", "noise99", "99999x4/Conv/weight", "ToRGB_lod9/weight",
]  # fmt: skip


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def stored(*shape: int):
    return open_bytes(saved(torch.ones(shape))).content


def odd_values() -> list:
    """Values that no reader expects, fresh each time since readers might keep them."""
    network = Opaque("dnnlib.tflib.network.Network", (), {"version": 4})
    module = Opaque("model.Net", (), {"_modules": {}, "_parameters": {}})
    numbers = StoredArray((1,), ElementType("int64"), False, bytes(8))
    plain = [None, 5, -1, 0, 10**30, float("nan"), 1e308, True, "relu", "tanh", b"x", [], {}, (1, 2), {1: 2}]
    tensors = [stored(), stored(0), stored(3), stored(0, 4), stored(1, 1, 4, 4), stored(2, 2, 2, 2, 2)]
    return [*plain, *tensors, network, module, numbers, Opaque("x"), StoredArray(), Name("a", "b")]


def places(value, slots: list, depth: int = 0) -> list:
    """Every (container, key) below a value."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys) if depth < 14 else ():
        slots.append((value, key))
        places(value[key], slots, depth + 1)
    for inner in value if isinstance(value, tuple) and depth < 14 else ():
        places(inner, slots, depth + 1)
    if isinstance(value, Opaque):
        places(value.attributes(), slots, depth + 1)
    return slots


def disturb(box: list, rng: random.Random) -> None:
    container, key = rng.choice(places(box, []))
    how = rng.randrange(4)
    if how == 0 or isinstance(container, list):
        container[key] = rng.choice(odd_values())
    elif how == 1:
        del container[key]
    elif how == 2:
        container[rng.choice(NAMES)] = container.pop(key)
    else:
        container[rng.choice(NAMES)] = rng.choice(odd_values())


@pytest.mark.parametrize("kind", ["nvlabs", "tensorflow", "state dict", "decoder", "components", "factors"])
def test_disturbed_content(forge, make_network, kind):
    network = make_network(z_dim=4, w_dim=4, c_dim=2, channels=(4, 4))
    content = {
        "nvlabs": lambda: forge.dumps(forge.nvlabs_snapshot(network, True), 4),
        "tensorflow": lambda: forge.dumps(forge.tensorflow_snapshot(network, conv_clamp=256, resample_kernel=[1])),
        "state dict": lambda: saved({"state_dict": network.state_dict()}),
        "decoder": lambda: saved({"g_ema": decoder(), "latent_avg": torch.ones(4)}),
        "components": lambda: saved({"lat_comp": torch.ones(4, 1, 16), "mean": torch.ones(3)}),
        "factors": lambda: saved({"eigvec": torch.ones(16, 16)}),
    }[kind]()
    rng = random.Random(kind)
    outcomes: Counter = Counter()
    for _ in range(150):
        opened = open_bytes(content)
        box = [opened.content]
        for _ in range(rng.choice((1, 1, 2, 4))):
            disturb(box, rng)
        try:
            weights = identify(OpenedFile(box[0], opened.kind))
            if isinstance(weights, GeneratorWeights):
                build_generator(weights)
            outcomes["read"] += 1
        except CheckpointError as problem:
            assert "\n" not in str(problem)
            outcomes["refused"] += 1
    assert outcomes["refused"] > 20


def decoder() -> dict[str, torch.Tensor]:
    """The smallest generator under rosinality's names: 4 px, and a filter that it never uses."""
    ones = torch.ones
    state = {"style.1.weight": ones(4, 4), "style.1.bias": ones(4), "input.input": ones(1, 4, 4, 4)}
    for layer, out, size in (("conv1", 4, 3), ("to_rgb1", 3, 1)):
        state[f"{layer}.conv.weight"] = ones(1, out, 4, size, size)
        state[f"{layer}.conv.modulation.weight"] = ones(4, 4)
        state[f"{layer}.conv.modulation.bias"] = ones(4)
    state |= {"conv1.noise.weight": ones(1), "conv1.activate.bias": ones(4), "to_rgb1.bias": ones(1, 3, 1, 1)}
    return state | {"noises.noise_0": ones(1, 1, 4, 4), "to_rgbs.0.upsample.kernel": ones(4, 4)}
