"""Strengths per block: names of blocks in every spelling, numbers by hand, and the trade that finds them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing import PairSettings, apply_pair_edit, learn_pair_edit
from semantic_edit.editing.pair.blocks import (
    OTHER,
    block_of,
    block_strengths,
    parse_strengths,
    strengths_text,
    with_block_strengths,
)
from semantic_edit.editing.pair.figures import block_chart
from semantic_edit.editing.pair.localize import localize_pair_edit
from semantic_edit.editing.pair.settings import PairSampling
from semantic_edit.models.diffusion.lora import with_lora
from semantic_edit.models.errors import InputError

SETTINGS = PairSettings(steps=6, content_steps=2, rate=2e-2, rank=2, draws=2)
SAMPLING = PairSampling(steps=4, refinements=0)


@pytest.fixture
def pairs():
    rng = torch.Generator().manual_seed(1)
    before = torch.randn(2, 4, 8, 8, generator=rng)
    change = torch.zeros(1, 4, 8, 8)
    change[..., :4] = torch.randn(1, 4, 8, 4, generator=rng)
    return before, before + change


@pytest.fixture
def edit(tiny_denoiser, pairs, entry):
    return learn_pair_edit(tiny_denoiser, *pairs, entry, SETTINGS)


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("input_blocks.4.1.transformer_blocks.0.attn1.to_q", "input_blocks.4"),
        ("middle_block.1.proj_in", "middle_block.1"),
        ("down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q", "down_blocks.0"),
        ("mid_block.attentions.0.proj_in", "mid_block.attentions.0"),
        ("double_blocks.17.img_attn.qkv", "double_blocks.17"),
        ("joint_blocks.3.x_block.attn.qkv", "joint_blocks.3"),
        ("transformer_blocks.59.img_mod.1", "transformer_blocks.59"),
        ("layers.2.attention.qkv", "layers.2"),
        ("noise_refiner.0.feed_forward.w1", "noise_refiner.0"),
        ("time_embed.0", OTHER),
        ("final_layer.linear", OTHER),
    ],
)
def test_the_block_of_a_layer(layer, block):
    assert block_of(layer) == block


def test_strengths_are_written_and_read():
    strengths = {"input_blocks.1": 0.25, OTHER: -1.5}
    assert parse_strengths(strengths_text(strengths)) == strengths
    assert parse_strengths(" a: 1,b : .5 ;\n\n") == {"a": 1.0, "b": 0.5} and parse_strengths("") == {}
    for text, words in (
        ("a", "not of the form"), ("a: x", "not of the form"), (": 1", "not of the form"),
        ("a: nan", "not of the form"), ("a: 1, a: 2", "names a block again"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            parse_strengths(text)
    picture = block_chart(strengths, "strength per block", "some words")
    assert picture.ndim == 3 and picture.shape[2] == 3 and float(picture.std()) > 0


def test_a_block_at_zero_is_a_slider_without_it(tiny_denoiser, edit, entry):
    """Equal to a slider whose factors there are zero; and the file says so to every LoRA loader."""
    blocks = list(block_strengths(edit, tiny_denoiser))
    assert len(blocks) > 3 and set(block_strengths(edit, tiny_denoiser).values()) == {1.0}
    changed = with_block_strengths(edit, tiny_denoiser, {blocks[0]: 0.0, blocks[1]: 0.5})
    photos = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    edited = apply_pair_edit(tiny_denoiser, photos, changed, 1.0, entry, SAMPLING)
    scale = {blocks[0]: 0.0, blocks[1]: 0.5}
    names = {tiny_denoiser.lora_name(layer): layer for layer in edit.loras_for(tiny_denoiser)}
    tensors = {
        key: tensor * scale.get(block_of(names[key.removesuffix(".lora_up.weight")]), 1.0)
        if key.endswith("lora_up.weight")
        else tensor
        for key, tensor in edit.lora.items()
    }
    expected = apply_pair_edit(tiny_denoiser, photos, replace(edit, lora=tensors), 1.0, entry, SAMPLING)
    assert torch.allclose(edited, expected, atol=1e-4)
    other = apply_pair_edit(tiny_denoiser, photos, edit, 1.0, entry, SAMPLING)
    assert not torch.allclose(edited, other, atol=1e-3)
    merged, same = (with_lora(tiny_denoiser, dict(lora)).network for lora in (changed.lora, tensors))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(merged.parameters(), same.parameters(), strict=True))
    again = with_block_strengths(changed, tiny_denoiser, {blocks[0]: 1.0, blocks[1]: 1.0})
    assert all(torch.equal(again.lora[key], edit.lora[key]) for key in edit.lora), "nothing of it is lost"


def test_the_trade_gives_up_what_changes_elsewhere(tiny_denoiser, edit, pairs, entry):
    state = {name: tensor.clone() for name, tensor in tiny_denoiser.network.state_dict().items()}
    with torch.inference_mode():
        free, dear = (
            localize_pair_edit(tiny_denoiser, edit, *pairs, entry, area=area, steps=12, rate=0.1)
            for area in (0.0, 100.0)
        )
    assert free.effect > 0.9 and min(free.strengths.values()) > 0.7, "nothing is given up where that costs nothing"
    # At one size of the edit: weaker blocks alone would be made up for by a higher strength.
    assert dear.elsewhere < 0.99 * free.elsewhere
    assert dear.elsewhere / dear.effect < free.elsewhere / free.effect - 0.001
    assert max(dear.strengths.values()) > 0.9 and "blocks stay above one half" in dear.report()
    assert block_strengths(dear.edit, tiny_denoiser) == pytest.approx(dict(dear.strengths), abs=1e-4)
    assert dear.edit.provenance["strength_per_block"] == dict(dear.strengths)
    blocks = list(dear.strengths)
    byhand = localize_pair_edit(tiny_denoiser, edit, *pairs, entry, steps=2, fixed={blocks[2]: -0.5})
    assert byhand.strengths[blocks[2]] == -0.5
    still = localize_pair_edit(tiny_denoiser, dear.edit, *pairs, entry, steps=0)
    assert set(still.strengths.values()) == {1.0} and still.effect == pytest.approx(1, abs=1e-4)
    assert all(torch.equal(state[name], tensor) for name, tensor in tiny_denoiser.network.state_dict().items())
    assert not [module for module in tiny_denoiser.network.modules() if module._forward_hooks]


def test_wrong_input_is_refused_with_a_sentence(tiny_denoiser, edit, pairs, entry):
    for words, settings in (
        ("changes no block 'nowhere.1'", {"fixed": {"nowhere.1": 1.0}}),
        ("expected -100 to 100", {"fixed": {OTHER: 1e9}}),
        ("steps have to be", {"steps": -1}),
        ("steps have to be", {"area": -0.1}),
    ):
        with pytest.raises(InputError, match=words):
            localize_pair_edit(tiny_denoiser, edit, *pairs, entry, **settings)
    renamed = {key.replace("lora_unet_", "lora_unet_x_"): tensor for key, tensor in edit.lora.items()}
    with pytest.raises(InputError, match="does not fit"):
        localize_pair_edit(tiny_denoiser, replace(edit, lora=renamed), *pairs, entry)
    with pytest.raises(InputError, match="both have to be of one size"):
        localize_pair_edit(tiny_denoiser, edit, pairs[0], pairs[1][..., :4], entry)
