"""The nodes of painting on a tiny generator: a chain of them, files, and every wrong input."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.models.errors import InputError


@pytest.fixture
def latents(tiny_generator):
    codes = tiny_generator.map(torch.randn(80, 16, generator=torch.Generator().manual_seed(2)))
    return GanLatent(codes, family=tiny_generator.family)


@pytest.fixture
def parts(tiny_generator, latents):
    bright = (tiny_generator.synthesize(latents.codes).mean(dim=1, keepdim=True) > 0).float()
    return PartLabels(torch.cat([bright, 1 - bright], dim=1), ("bright", "dark"))


@pytest.fixture
def concepts(run_node, tiny_generator, latents, parts):
    values, _ = run_node(
        "DissectConcepts", generator=tiny_generator, latents=latents, parts=parts, ranking="difference"
    )
    return values[0]


def some(latents, count):
    return GanLatent(latents.codes[:count], family=latents.family)


def left_half(size=64):
    mask = torch.zeros(1, size, size)
    mask[:, :, : size // 2] = 1
    return mask


def paint(run_node, generator, concepts, **inputs):
    given = {"concept": "bright", "mask": left_half(), **inputs}
    return run_node("PaintConcept", generator=generator, concepts=concepts, **given)[0][0]


def test_dissection_shows_its_units_and_says_what_it_found(run_node, tiny_generator, latents, parts):
    (concepts, sheets, report), _ = run_node(
        "DissectConcepts", generator=tiny_generator, latents=latents, parts=parts, ranking="overlap", layer=4
    )
    assert concepts.layer == 4 and concepts.names == ("bright", "dark") and concepts.family == tiny_generator.family
    assert sheets.shape[0] == 2 and sheets.shape[-1] == 3 and "bright: " in report


def test_the_demo_world_is_looked_at_without_parts(run_node, tiny_generator):
    (concepts, sheets, _), _ = run_node("DissectConcepts", generator=tiny_generator, samples=64, ranking="difference")
    assert "hat" in concepts.names and len(sheets) == len(concepts.names)


def test_strokes_are_chained_and_drawn_on_the_photo(run_node, tiny_generator, concepts, latents):
    two = some(latents, 2)
    first = paint(run_node, tiny_generator, concepts)
    painting = paint(run_node, tiny_generator, concepts, action="remove", form="units", painting=first)
    assert len(painting) == 2 and len(first) == 1
    photos = torch.randint(256, (2, 48, 48, 3)) / 255
    (composite, raw, joined), _ = run_node(
        "RenderPaintedPhoto", generator=tiny_generator, latents=two, painting=painting, photos=photos, dilation=2.0
    )
    assert composite.shape == raw.shape == photos.shape and joined.shape == (2, 48, 48)
    untouched = joined == 0
    # ComfyUI cuts off what is less by a bit.
    assert bool(untouched.any()) and torch.equal(composite[untouched], photos[untouched])
    again, _ = run_node(
        "RenderPaintedPhoto", generator=tiny_generator, latents=two, painting=painting, photos=photos, dilation=2.0
    )
    assert torch.equal(again[0], composite)


@pytest.mark.parametrize("form", ["statistics", "channel means"])
def test_looks_are_copied(run_node, tiny_generator, latents, form):
    two, one = some(latents, 2), some(latents, 1)
    inputs = dict(generator=tiny_generator, latents=two, reference=one, mask=left_half(), reference_mask=left_half(32))
    painting = run_node("CopyAppearance", form=form, **inputs)[0][0]
    photos = torch.rand(2, 32, 32, 3)
    (composite, _, _), _ = run_node(
        "RenderPaintedPhoto", generator=tiny_generator, latents=two, painting=painting, photos=photos
    )
    assert composite.shape == photos.shape and not torch.equal(composite, photos)


def test_concepts_are_saved_and_loaded(run_node, tiny_generator, concepts, headless_host):
    (file,), _ = run_node("SaveConcepts", concepts=concepts, name="set/tiny")
    assert file == "set/tiny_00001_.safetensors"
    (loaded, report), _ = run_node("LoadConcepts", generator=tiny_generator, file=file)
    assert torch.equal(loaded.effect, concepts.effect) and loaded.names == concepts.names and "bright" in report


def test_parts_become_masks(run_node, parts):
    (mask,), _ = run_node("PartMask", parts=parts, names="bright, dark", grow=2)
    assert mask.shape == (80, 32, 32) and bool((mask == 1).all())
    (grown,), _ = run_node("PartMask", parts=parts, names="bright", grow=3)
    assert bool((grown >= parts.part("bright")).all())
    with pytest.raises(InputError, match="these are labelled: bright, dark"):
        run_node("PartMask", parts=parts, names="hat")
    with pytest.raises(InputError, match="names is empty; these parts are labelled"):
        run_node("PartMask", parts=parts, names=" ,")


def test_a_brush_draws_on_the_pictures(run_node):
    (mask, preview), _ = run_node("BrushMask", images=torch.rand(2, 30, 40, 3), strokes="0.5 0.5", radius=0.2)
    assert mask.shape == (1, 30, 40) and preview.shape == (2, 30, 40, 3) and mask.sum() > 20


def test_another_size_of_mask_is_noted(run_node, tiny_generator, concepts, caplog):
    with caplog.at_level("INFO", logger="semantic_edit.editing.paint.strokes"):
        paint(run_node, tiny_generator, concepts, mask=left_half(100))
    assert "100 x 100" in caplog.text and "32 x 32" in caplog.text


def test_wrong_inputs_are_refused(run_node, tiny_generator, tiny_progan, concepts, latents, parts):
    painting = paint(run_node, tiny_generator, concepts)
    two, photos = some(latents, 2), torch.rand(2, 32, 32, 3)

    def render(**changes):
        given = dict(generator=tiny_generator, latents=two, painting=painting, photos=photos)
        return run_node("RenderPaintedPhoto", **{**given, **changes})

    def dissect(**changes):
        return run_node("DissectConcepts", **{"generator": tiny_generator, "ranking": "difference", **changes})

    cases = {
        "mask is empty": lambda: paint(run_node, tiny_generator, concepts, mask=torch.zeros(64, 64)),
        "there are: bright, dark": lambda: paint(run_node, tiny_generator, concepts, concept="dragon"),
        "belongs to the generator family": lambda: paint(run_node, tiny_progan, concepts),
        "low, medium, high, number": lambda: paint(run_node, tiny_generator, concepts, level="most"),
        "draws 32 x 32": lambda: render(photos=torch.rand(2, 32, 40, 3)),
        "1 photos for 2 codes": lambda: render(photos=photos[:1]),
        "'progan": lambda: render(generator=tiny_progan, latents=GanLatent(torch.randn(2, 1, 16), family="progan-x")),
        "linear, laplacian, poisson": lambda: render(blending="magic"),
        "expects": lambda: render(latents=GanLatent(torch.randn(2, 3, 16), family=tiny_generator.family)),
        "Layer 9 does not exist": lambda: dissect(latents=latents, parts=parts, layer=9),
        "one for each": lambda: dissect(latents=two, parts=parts),
        "the latents of none": lambda: dissect(parts=parts),
        "'difference' or 'overlap'": lambda: dissect(latents=latents, parts=parts, ranking="effect"),
        "too few": lambda: dissect(latents=two),
        "reference pictures for 2": lambda: run_node(
            "CopyAppearance",
            generator=tiny_generator,
            latents=two,
            reference=some(latents, 3),
            mask=left_half(),
            reference_mask=left_half(),
        ),  # fmt: skip
    }
    for words, attempt in cases.items():
        with pytest.raises(InputError) as problem:
            attempt()
        assert words in str(problem.value), (words, str(problem.value))


def test_an_interruption_stops_the_dissection(run_node, tiny_generator, latents, parts, headless_host, monkeypatch):
    class StopError(Exception):
        pass

    def refuse():
        raise StopError

    monkeypatch.setattr(headless_host, "check_interrupt", refuse)
    with pytest.raises(StopError):
        run_node("DissectConcepts", generator=tiny_generator, latents=latents, parts=parts, ranking="difference")
