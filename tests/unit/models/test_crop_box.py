"""Crops drawn alone: the values of the whole but for `receptive_radius` cells, and strokes that use them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing.paint.painted_photo import Canvas
from semantic_edit.editing.paint.painted_region import affected_region, best_crop, region_to_draw
from semantic_edit.editing.paint.painting import DonorStroke, Painting, UnitStroke, stroke_boxes
from semantic_edit.editing.paint.painting_hook import painting_hook
from semantic_edit.editing.paint.strokes import APPEARANCES, copy_appearance, donor_layers
from semantic_edit.models import ProgressiveConfig, ProgressiveGAN, StyleGAN2, StyleGAN2Config
from semantic_edit.models.errors import InputError
from semantic_edit.models.gan.adaptation import Adaptation, with_adaptation
from semantic_edit.models.gan.crop_box import CropBox, bounding_box, receptive_radius
from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint
from semantic_edit.models.gan.hooks import FunctionHook
from semantic_edit.models.gan.layer_blend import resized_mask
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

KINDS = {
    "skip": {},
    "orig": {"architecture": "orig"},
    "resnet": {"architecture": "resnet"},
    "longer filter": {"resample_filter": (1.0, 2.0, 4.0, 4.0, 2.0, 1.0)},
    "tall": {"const_size": (4, 2)},
    "no noise": {"use_noise": False},
    "progressive": None,
}


def generator_of(kind: str = "skip", channels=(8, 8, 8, 8, 6, 4)) -> GanGenerator:
    """A random generator, 128 px high, narrow, in which nothing that training would set is zero."""
    rng = torch.Generator().manual_seed(3)
    if kind == "progressive":
        network = ProgressiveGAN(ProgressiveConfig(z_dim=8, channels=channels), generator=rng)
    else:
        config = StyleGAN2Config(z_dim=8, w_dim=8, channels=channels, mapping_layers=1, **KINDS[kind])
        network = StyleGAN2(config, generator=rng)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith((".bias", ".noise_strength")) and "affine" not in name:
                tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.2)
    network.requires_grad_(False).eval()
    return GanGenerator(network, family_fingerprint(network), kind)


def codes_of(generator: GanGenerator, count: int = 2, seed: int = 1) -> torch.Tensor:
    return generator.map(torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed)))


def box_mask(top: int, bottom: int, left: int, right: int, size: int = 128) -> torch.Tensor:
    mask = torch.zeros(1, size, size)
    mask[:, top:bottom, left:right] = 1
    return mask


@pytest.mark.parametrize("kind", KINDS)
def test_the_receptive_radius_is_how_far_a_change_spreads(kind):
    """One cell is changed; beyond the radius nothing is, and just within it something is."""
    generator = generator_of(kind)
    synthesis, codes = generator.network.synthesis, codes_of(generator, 1)
    count = len(synthesis.layers)
    for layer in range(3, count - 1):
        state = synthesis(codes, SynthesisOptions(stop_layer=layer)).state
        _, height, width = synthesis.layer_size(layer)
        row, column = height // 2, width // 2
        changed = state.features.clone()
        changed[..., row, column] += 5
        image = state.image
        if image is not None:
            image, factor = image.clone(), height // image.shape[2]
            image[..., row // factor, column // factor] += 5
        before, after = (
            synthesis(codes, SynthesisOptions(resume=each)).image
            for each in (state, replace(state, features=changed, image=image))
        )
        scale = before.shape[2] // height
        changed_rows = (before != after).any(dim=1)[0].any(dim=1).nonzero().flatten()
        radius = receptive_radius(synthesis, layer)
        assert (
            int(changed_rows.min()) >= (row - radius) * scale and int(changed_rows.max()) < (row + 1 + radius) * scale
        )
        assert int(changed_rows.min()) < (row - radius + 3) * scale  # not much more than it has to be


@pytest.mark.parametrize("noise", ["constant", "none", 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_drawn_as_in_the_whole(kind, noise):
    generator = generator_of(kind)
    synthesis, codes = generator.network.synthesis, codes_of(generator)
    whole = synthesis(codes, SynthesisOptions(noise=noise)).image
    for layer in (5, 6):
        state = synthesis(codes, SynthesisOptions(noise=noise, stop_layer=layer)).state
        _, height, width = synthesis.layer_size(layer)
        radius = receptive_radius(synthesis, layer)
        box = CropBox(4, height, 0, width // 2 + radius + 1 & ~1, height, width)
        stopped = synthesis(codes, SynthesisOptions(noise=noise, stop_layer=layer + 2, resume=state.crop(box)))
        assert stopped.state.box == box
        part = synthesis(codes, SynthesisOptions(noise=noise, resume=stopped.state)).image
        assert part.shape[2:] == box.size(*whole.shape[2:])
        scale = whole.shape[2] // height
        safe = part[..., radius * scale :, : -radius * scale]  # two sides are the picture's own, and right to the edge
        assert torch.allclose(safe, box.crop(whole)[..., radius * scale :, : -radius * scale], atol=2e-5)


def strokes_of(generator: GanGenerator, codes: torch.Tensor) -> list:
    layers, middle = donor_layers(generator), donor_layers(generator)[0] - 1
    units = generator.network.synthesis.layer_size(middle)[0]
    rows = codes_of(generator, len(codes), 7) - codes
    values = torch.randn(1, units, 16, 16, generator=torch.Generator().manual_seed(2))
    return [
        DonorStroke(box_mask(80, 95, 66, 90), layers, rows),
        UnitStroke(box_mask(60, 90, 80, 100), layers[1], (0, 2), torch.tensor([2.0, -2.0])),
        DonorStroke(box_mask(16, 30, 20, 30, 64), layers[1:], -rows),
        UnitStroke(box_mask(100, 110, 100, 110), middle, range(units), values),
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chosen", [(0,), (1,), (2,), (0, 1), (0, 2), (2, 1, 0), (3,), (0, 3)])
def test_strokes_on_a_canvas_are_those_of_the_whole_picture(kind, chosen, monkeypatch):
    generator = generator_of(kind)
    codes = codes_of(generator)
    strokes = strokes_of(generator, codes)
    painting = Painting(tuple(strokes[k] for k in chosen))
    drawn = Canvas(generator, codes).draw(painting)
    monkeypatch.setattr("semantic_edit.editing.paint.painting_hook.best_crop", lambda *_: None)
    hook = painting_hook(painting, generator, codes)
    whole = generator.network.synthesis(codes, SynthesisOptions(hook=hook)).image
    assert not torch.equal(whole, generator.synthesize(codes))
    assert torch.allclose(drawn, whole, atol=3e-5 * float(whole.abs().max()))


def test_small_strokes_are_drawn_as_parts():
    """What the tests above compare with the whole would say nothing if nothing were cut."""
    generator = generator_of()
    synthesis = generator.network.synthesis
    stroke = strokes_of(generator, codes_of(generator))[0]
    masks = stroke_boxes([stroke], generator)
    first = donor_layers(generator)[0]
    layer, early = best_crop(synthesis, masks, first)
    part = region_to_draw(synthesis, masks, first - 1)
    assert layer <= first and early.area_fraction < 0.5 and part.area_fraction < 0.7
    seen = []
    hook = painting_hook(Painting((stroke,)), generator, codes_of(generator))
    run = hook.cropped(part)
    state = synthesis(codes_of(generator), SynthesisOptions(stop_layer=first - 1)).state.crop(part)
    watch = FunctionHook(lambda layer, x: seen.append(tuple(x.shape[2:])) or run(layer, x))
    synthesis(codes_of(generator), SynthesisOptions(resume=state, hook=watch))
    assert seen == [part.size(*synthesis.layer_size(k)[1:]) for k in range(first, len(synthesis.layers))]


def test_a_wide_stroke_is_drawn_whole():
    generator = generator_of()
    masks = [bounding_box(torch.ones(1, 1, 128, 128))]
    assert region_to_draw(generator.network.synthesis, masks, 4) is None
    assert best_crop(generator.network.synthesis, masks, 5) is None
    assert bounding_box(torch.zeros(1, 1, 128, 128)) is None
    assert region_to_draw(generator.network.synthesis, [], 4) is None


@pytest.mark.parametrize("kind", ["skip", "resnet", "tall", "progressive"])
@pytest.mark.parametrize("form", APPEARANCES)
def test_copied_looks_are_those_of_the_whole_picture(kind, form, monkeypatch):
    """Measured on parts of both pictures, painted on top of another stroke."""
    if (kind, form) == ("progressive", "fine rows"):
        pytest.skip("one row of codes for all layers")
    generator = generator_of(kind)
    codes, reference = codes_of(generator), codes_of(generator, 1, 9)
    below = Painting((strokes_of(generator, codes)[0],), generator.family)
    masks = box_mask(70, 95, 60, 90), box_mask(20, 50, 30, 60)

    def drawn() -> torch.Tensor:
        painting = copy_appearance(generator, codes, masks[0], reference, masks[1], form, painting=below)
        assert form != "statistics" or all(stroke.box is not None for stroke in painting.strokes[1:]) == cut
        return Canvas(generator, codes).draw(painting)

    cut = True
    part = drawn()
    cut = False
    monkeypatch.setattr("semantic_edit.editing.paint.painting_hook.best_crop", lambda *_: None)
    monkeypatch.setattr("semantic_edit.editing.paint.painted_photo.region_to_draw", lambda *_: None)
    whole = drawn()
    assert not torch.allclose(part, Canvas(generator, codes).draw(below), atol=1e-2)
    assert torch.allclose(part, whole, atol=1e-4 * float(whole.abs().max()))


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("guide", [None, 4, 6])
@pytest.mark.parametrize("edited", [False, True])
def test_strokes_on_an_adapted_photo_are_those_of_the_whole_picture(guide, bare, edited, monkeypatch):
    """Deltas, residual and their flow, for the photos' own codes and for edited ones; details end where strokes are."""
    plain = generator_of()
    codes = codes_of(plain)
    rng = torch.Generator().manual_seed(5)
    sizes = {layer: plain.network.synthesis.layer_size(layer) for layer in (7, 9)}
    deltas = {layer: 0.3 * torch.randn(2, *size, generator=rng) for layer, size in sizes.items()}
    residual = 0.1 * torch.randn(2, 3, 128, 128, generator=rng)
    adaptation = Adaptation(codes, deltas, residual, family=plain.family, guide=guide)
    generator = with_adaptation(plain, adaptation)
    painted = codes + 0.3 * torch.randn(2, 1, 8, generator=rng) if edited else codes
    strokes = strokes_of(generator, painted)
    painting = Painting((strokes[0], strokes[1]))
    drawn = Canvas(generator, painted).draw(painting, bare)
    monkeypatch.setattr("semantic_edit.editing.paint.painting_hook.best_crop", lambda *_: None)
    monkeypatch.setattr("semantic_edit.editing.paint.painted_photo.region_to_draw", lambda *_: None)
    whole = Canvas(generator, painted).draw(painting, bare)
    assert torch.allclose(drawn, whole, atol=1e-4 * float(whole.abs().max()))


def adapted_early(plain: GanGenerator, codes: torch.Tensor, layers=(7, 9), guide: int | None = 6) -> GanGenerator:
    rng = torch.Generator().manual_seed(5)
    deltas = {k: 0.5 * torch.randn(2, *plain.network.synthesis.layer_size(k), generator=rng) for k in layers}
    return with_adaptation(plain, Adaptation(codes, deltas, family=plain.family, guide=guide))


@pytest.mark.parametrize("guide", [None, 4, 6])
def test_donors_on_strokes_of_an_adapted_photo_are_those_of_the_whole_picture(guide, monkeypatch):
    """What lies below hides details where the guide's features are new: in a donor as in a picture."""
    plain = generator_of()
    codes = codes_of(plain)
    generator = adapted_early(plain, codes, guide=guide)
    unit, donor = (strokes_of(generator, codes)[k] for k in (3, 0))
    donor = replace(donor, step=0.1 * donor.step)  # some of the photo is still there
    painting = Painting((replace(unit, mask=box_mask(84, 90, 70, 76)), donor))
    drawn = Canvas(generator, codes).draw(painting)
    monkeypatch.setattr("semantic_edit.editing.paint.painting_hook.best_crop", lambda *_: None)
    monkeypatch.setattr("semantic_edit.editing.paint.painted_photo.region_to_draw", lambda *_: None)
    whole = Canvas(generator, codes).draw(painting)
    assert torch.allclose(drawn, whole, atol=1e-4 * float(whole.abs().max()))


def test_donors_do_not_depend_on_later_strokes():
    plain = generator_of()
    codes = codes_of(plain)
    generator = adapted_early(plain, codes, guide=None)
    first, unit, second, _ = strokes_of(generator, codes)
    second = replace(second, mask=0.6 * second.mask)
    canvas, strokes = Canvas(generator, codes), (first, second, replace(unit, mask=second.mask / 0.6))
    for count in (2, 3):
        painting = Painting(strokes[:count])
        assert torch.equal(canvas.draw(painting), Canvas(generator, codes).draw(painting))


def test_donors_have_the_details_of_their_photos():
    plain = generator_of()
    codes = codes_of(plain)
    generator = adapted_early(plain, codes, guide=None)
    first, _, second, _ = strokes_of(generator, codes)
    cache = {}
    painting_hook(Painting((first, second)), generator, codes, cache=cache)
    donor, below = cache[(first, second)], painting_hook(Painting((first,)), generator, codes)
    run = generator.network.synthesis(
        codes + second.offset(codes), SynthesisOptions(want_features=(7, 9), stop_layer=9, hook=FunctionHook(below))
    )
    for layer, expected in run.features.items():
        inside = donor.box.crop(resized_mask(second.mask[:, None], expected.shape[2:]))[0, 0] > 0
        assert torch.allclose(donor.features[layer][..., inside], donor.box.crop(expected)[..., inside], atol=1e-4)


def test_a_canvas_draws_with_details_after_it_drew_without_them():
    """Donors make up for colours of the layers below, which differ where details of early layers are left out."""
    plain = generator_of()
    codes = codes_of(plain)
    generator = adapted_early(plain, codes, (2, 3), None)
    canvas, painting = Canvas(generator, codes), Painting((strokes_of(generator, codes)[0],))
    for bare in (True, False, True):
        assert torch.equal(canvas.draw(painting, bare), Canvas(generator, codes).draw(painting, bare))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_affected_region_lies_within_the_crop_that_is_drawn(data):
    generator = generator_of()
    synthesis = generator.network.synthesis
    size = data.draw(st.sampled_from([32, 100, 128, 300]))
    top, left = (data.draw(st.integers(0, size - 2)) for _ in range(2))
    mask = box_mask(top, data.draw(st.integers(top + 1, size)), left, data.draw(st.integers(left + 1, size)), size)
    layer = data.draw(st.integers(0, 8))
    marks = [bounding_box(mask[:, None])]
    part, changed = region_to_draw(synthesis, marks, layer), affected_region(synthesis, marks, layer)
    for box in (changed, *([] if part is None else [part])):
        covered = torch.nn.functional.interpolate(mask[:, None], (128, 128), mode="bilinear", antialias=True)
        outside = covered.clone()
        box.crop(outside).zero_()
        assert covered.sum() > 0 and outside.sum() == 0
        assert not any(edge % 2 for edge in (box.top, box.bottom, box.left, box.right))
    if part is not None:
        assert part.top <= changed.top and part.bottom >= changed.bottom
        assert part.left <= changed.left and part.right >= changed.right


def test_wrong_parts_are_refused():
    generator = generator_of()
    synthesis, codes = generator.network.synthesis, codes_of(generator)
    state = synthesis(codes, SynthesisOptions(stop_layer=4)).state
    with pytest.raises(InputError, match="no part of a layer of 16 x 16"):
        CropBox(4, 20, 0, 8, 16, 16)
    with pytest.raises(InputError, match="no whole cells in a layer of 8 x 8"):
        state.crop(CropBox(1, 8, 0, 8, 16, 16))
    part = state.crop(CropBox(2, 8, 0, 8, 16, 16))
    with pytest.raises(InputError, match="a part of a picture already"):
        part.crop(CropBox(2, 8, 0, 8, 16, 16))
    with pytest.raises(InputError, match=r"layer 4 of this generator has \(2, 8, 6, 8\)"):
        synthesis(codes, SynthesisOptions(resume=replace(part, features=part.features[..., 1:])))
