"""Strokes on features: what they change, what they leave, in which order, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.editing.paint.concepts import ConceptUnits
from semantic_edit.editing.paint.painted_photo import Canvas, match_tone, render_painted_photo, render_painting
from semantic_edit.editing.paint.painting import DonorStroke, Painting, UnitStroke, painting_mask
from semantic_edit.editing.paint.painting_hook import painting_hook
from semantic_edit.editing.paint.strokes import APPEARANCES, copy_appearance, donor_layers, paint_concept
from semantic_edit.models.errors import InputError
from semantic_edit.models.gan.synthesis_run import SynthesisOptions


def codes_of(generator, count=2, seed=1):
    return generator.map(torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed)))


def left_half(size=32):
    mask = torch.zeros(1, size, size)
    mask[:, :, : size // 2] = 1
    return mask


def concepts_for(generator, layer=2, **changes):
    units = generator.network.synthesis.layer_size(layer)[0]
    rng = torch.Generator().manual_seed(3)
    step = torch.randn(2, 1, generator.w_dim, generator=rng)
    fields = dict(
        layer=layer,
        names=("hat", "hair"),
        iou=torch.rand(2, units, generator=rng),
        effect=torch.rand(2, units, generator=rng),
        top=torch.full((units,), 3.0),
        inside=torch.full((2, units), 2.0),
        outside=torch.full((2, units), -1.0),
        threshold=torch.zeros(2, units),
        share=torch.tensor([0.1, 0.3]),
        steps=step,
        normals=step[:, 0],
        levels=torch.tensor([[-1.0, 5.0], [-1.0, 5.0]]),
        family=generator.family,
    )
    return ConceptUnits(**{**fields, **changes})


def test_a_unit_stroke_sets_its_units_inside_the_mask_and_nothing_else(tiny_generator):
    stroke = UnitStroke(left_half(8), 2, (3, 1), torch.tensor([5.0, -5.0]))
    hook = painting_hook(Painting((stroke,)), tiny_generator)
    x = torch.randn(2, 16, 8, 8)
    painted = hook(2, x)
    assert bool((painted[:, 3, :, :4] == 5).all() and (painted[:, 1, :, :4] == -5).all())
    untouched = painted.clone()
    untouched[:, [3, 1], :, :4] = x[:, [3, 1], :, :4]
    assert torch.equal(untouched, x)
    assert hook(3, x) is x


def test_a_later_stroke_lies_on_top(tiny_generator):
    first, second = (UnitStroke(left_half(), 2, (0,), torch.tensor([value])) for value in (1.0, 2.0))
    x = torch.zeros(1, 16, 8, 8)
    assert painting_hook(Painting((first, second)), tiny_generator)(2, x)[0, 0, 0, 0] == 2
    assert painting_hook(Painting((second, first)), tiny_generator)(2, x)[0, 0, 0, 0] == 1


@pytest.mark.parametrize("network", ["tiny_generator", "tiny_progan"])
def test_a_donor_under_a_full_mask_is_the_donors_own_picture(network, request):
    """Colours included: each ToRGB has the style of another code than the features'."""
    generator = request.getfixturevalue(network)
    codes, other = codes_of(generator), codes_of(generator, seed=9)
    stroke = DonorStroke(torch.ones(1, 8, 8), donor_layers(generator), other - codes)
    drawn = render_painting(generator, codes, Painting((stroke,)))
    expected = generator.synthesize(other)
    assert (drawn - expected).abs().max() < 2e-3 * expected.abs().max()


def test_a_donor_acts_inside_its_mask(tiny_generator):
    codes, other = codes_of(tiny_generator), codes_of(tiny_generator, seed=9)
    plain, donor = tiny_generator.synthesize(codes), tiny_generator.synthesize(other)
    stroke = DonorStroke(left_half(), donor_layers(tiny_generator), other - codes)
    drawn = render_painting(tiny_generator, codes, Painting((stroke,)))
    assert (drawn - plain)[..., 26:].abs().max() < 0.05 * (donor - plain).abs().max()
    assert (drawn - donor)[..., :8].abs().max() < 0.05 * (donor - plain).abs().max()


def test_inserting_stops_at_its_target_and_never_takes_away():
    step = torch.zeros(1, 4)
    step[0, 0] = 2.0
    normal = torch.tensor([1.0, 0, 0, 0])
    codes = torch.zeros(2, 3, 4)
    codes[1, :, 0] = 9.0
    insert = DonorStroke(torch.ones(1, 4, 4), (0,), step, normal, 5.0).offset(codes)
    assert torch.allclose((codes + insert).mean(1) @ normal, torch.tensor([5.0, 9.0]))
    remove = DonorStroke(torch.ones(1, 4, 4), (0,), -step, normal, 5.0).offset(codes)
    assert torch.allclose((codes + remove).mean(1) @ normal, torch.tensor([0.0, 5.0]))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(4, 40), st.integers(4, 40)), min_size=0, max_size=3),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_the_painting_mask_is_the_union_at_any_size(sizes, height, width):
    strokes = tuple(UnitStroke(torch.ones(1, h, w), 0, (0,), torch.zeros(1)) for h, w in sizes)
    mask = painting_mask(Painting(strokes), height, width, batch=3)
    assert mask.shape == (3, 1, height, width)
    assert torch.allclose(mask, torch.full_like(mask, float(bool(sizes))))


@pytest.mark.parametrize("network", ["tiny_generator", "tiny_progan"])
def test_a_canvas_keeps_what_lies_below_the_strokes(network, request):
    generator = request.getfixturevalue(network)
    codes = codes_of(generator)
    concepts = concepts_for(generator)
    canvas = Canvas(generator, codes)
    for form in ("units", "donor"):
        painting = paint_concept(generator, concepts, "hat", left_half(), form=form)
        whole = generator.network.synthesis(
            codes, SynthesisOptions(hook=painting_hook(painting, generator, codes))
        ).image
        assert not torch.equal(whole, generator.synthesize(codes))
        assert torch.equal(canvas.draw(painting), whole)
        assert torch.equal(canvas.draw(painting), whole)
    assert torch.equal(canvas.draw(Painting()), generator.synthesize(codes))


def test_levels_are_units_or_a_share_of_the_way(tiny_generator):
    concepts = concepts_for(tiny_generator)
    for level, count in (("low", 4), ("medium", 10), ("high", 15), (7.0, 7)):
        stroke = paint_concept(tiny_generator, concepts, "hat", left_half(), level=level, form="units").strokes[0]
        assert stroke.units == concepts.ranked("hat", count) and len(stroke.units) == count
        donor = paint_concept(tiny_generator, concepts, "hat", left_half(), level=level).strokes[0]
        assert donor.target == pytest.approx(-1 + (0.6 + 0.04 * count) * 6)


@pytest.mark.parametrize(
    ("action", "form", "value"),
    [
        ("insert", "units", 2),
        ("remove", "units", -1),
        ("insert", "units, published", 3),
        ("remove", "units, published", 0),
    ],
)
def test_units_take_the_levels_of_their_form(tiny_generator, action, form, value):
    stroke = paint_concept(tiny_generator, concepts_for(tiny_generator), "hat", left_half(), action, form=form).strokes[
        0
    ]
    assert bool((stroke.values == value).all()) and stroke.layer == 2


@pytest.mark.parametrize("form", APPEARANCES)
def test_an_appearance_copied_from_the_picture_itself_changes_little(tiny_generator, form):
    codes = codes_of(tiny_generator, 1)
    whole = torch.ones(1, 32, 32)
    painting = copy_appearance(tiny_generator, codes, whole, codes, whole, form)
    plain, drawn = tiny_generator.synthesize(codes), render_painting(tiny_generator, codes, painting)
    if form == "channel means":
        assert drawn[..., 8:24, 8:24].std() < plain[..., 8:24, 8:24].std()
    else:
        assert (drawn - plain).abs().max() < 1e-3 * plain.abs().max()


def test_fine_rows_need_rows(tiny_progan):
    codes = codes_of(tiny_progan, 1)
    with pytest.raises(InputError, match="one row"):
        copy_appearance(tiny_progan, codes, left_half(), codes, left_half(), "fine rows")
    assert copy_appearance(tiny_progan, codes, left_half(), codes, left_half(), "nearest cells").layers == (1,)


@pytest.mark.parametrize("form", APPEARANCES)
def test_masks_and_regions_belong_to_their_pictures(tiny_generator, form):
    codes, reference = codes_of(tiny_generator), codes_of(tiny_generator, 1, 9)
    region = torch.zeros(2, 32, 32)
    region[0, :, :16] = region[1, 20:24, 20:24] = 1
    together = render_painting(
        tiny_generator, codes, copy_appearance(tiny_generator, codes, left_half(), reference, region, form)
    )
    for k in range(2):
        alone = copy_appearance(tiny_generator, codes[k : k + 1], left_half(), reference, region[k], form)
        drawn = render_painting(tiny_generator, codes[k : k + 1], alone)
        assert torch.allclose(together[k : k + 1], drawn, atol=1e-3)
    dot = torch.zeros(2, 64, 64)
    dot[0], dot[1, 3, 3] = 1, 1  # hardly anything of the second is left at the size of a layer
    dotted = copy_appearance(tiny_generator, codes, left_half(), codes_of(tiny_generator, 2, 9), dot, form)
    assert torch.isfinite(render_painting(tiny_generator, codes, dotted)).all()
    with pytest.raises(InputError, match="3 masks for 2 pictures"):
        copy_appearance(tiny_generator, codes, torch.ones(3, 8, 8), reference, region, form)
    if form == "fine rows":
        return
    with pytest.raises(InputError, match="3 reference masks for 1 reference"):
        copy_appearance(tiny_generator, codes, left_half(), reference, torch.ones(3, 8, 8), form)
    with pytest.raises(InputError, match="Reference mask 2 is empty"):
        copy_appearance(tiny_generator, codes, left_half(), reference, torch.stack([region[0], 0 * region[0]]), form)


def test_the_photo_is_kept_outside_the_grown_mask(tiny_generator):
    codes = codes_of(tiny_generator, 2)
    painting = paint_concept(tiny_generator, concepts_for(tiny_generator), "hat", left_half())
    photo = torch.rand(2, 3, 64, 64) * 2 - 1
    for method in ("linear", "poisson"):
        result = render_painted_photo(Canvas(tiny_generator, codes), painting, photo, method=method)
        assert result.composite.shape == result.raw.shape == photo.shape
        kept = (result.mask == 0).expand_as(photo)
        assert bool(kept.any()) and torch.equal(result.composite[kept], photo[kept])


def test_wrong_inputs_are_refused_with_sentences(tiny_generator):
    concepts, codes = concepts_for(tiny_generator), codes_of(tiny_generator)
    cases = {
        "mask is empty": lambda: paint_concept(tiny_generator, concepts, "hat", torch.zeros(64, 64)),
        "was not dissected": lambda: paint_concept(tiny_generator, concepts, "dragon", left_half()),
        "'explode'": lambda: paint_concept(tiny_generator, concepts, "hat", left_half(), "explode"),
        "level": lambda: paint_concept(tiny_generator, concepts, "hat", left_half(), level="most"),
        "number of units above 0": lambda: paint_concept(tiny_generator, concepts, "hat", left_half(), level=0.0),
        "family": lambda: paint_concept(tiny_generator, concepts_for(tiny_generator, family="x"), "hat", left_half()),
        "Dissect this generator": lambda: paint_concept(tiny_generator, replace(concepts, layer=6), "hat", left_half()),
        "without a step in W": lambda: paint_concept(
            tiny_generator, concepts_for(tiny_generator, steps=None, normals=None, levels=None), "hat", left_half()
        ),
        "expected a MASK": lambda: paint_concept(tiny_generator, concepts, "hat", torch.ones(1, 1, 4, 4)),
        "has units 0 to": lambda: painting_hook(
            Painting((UnitStroke(left_half(), 2, (99,), torch.ones(1)),)), tiny_generator
        ),
        "where they are known": lambda: painting_hook(
            paint_concept(tiny_generator, concepts, "hat", left_half()), tiny_generator
        ),
        "for 3 pictures": lambda: painting_hook(
            Painting((UnitStroke(torch.ones(3, 8, 8), 2, (0,), torch.ones(1)),)), tiny_generator, codes
        ),
        "no strokes": lambda: render_painted_photo(
            Canvas(tiny_generator, codes), Painting(), torch.zeros(2, 3, 32, 32)
        ),
        "Crop or pad": lambda: render_painted_photo(
            Canvas(tiny_generator, codes),
            paint_concept(tiny_generator, concepts, "hat", left_half()),
            torch.zeros(2, 3, 32, 48),
        ),
        "1 photos for 2 codes": lambda: render_painted_photo(
            Canvas(tiny_generator, codes),
            paint_concept(tiny_generator, concepts, "hat", left_half()),
            torch.zeros(1, 3, 32, 32),
        ),
    }
    for words, attempt in cases.items():
        with pytest.raises(InputError) as problem:
            attempt()
        assert words in str(problem.value), (words, str(problem.value))


def test_change_only_adds_the_change_and_keeps_the_photos_detail(tiny_generator):
    codes = codes_of(tiny_generator, 2)
    painting = paint_concept(tiny_generator, concepts_for(tiny_generator), "hat", torch.ones(1, 32, 32))
    canvas = Canvas(tiny_generator, codes)
    photo = 0.1 * torch.rand(2, 3, 32, 32)
    result = render_painted_photo(canvas, painting, photo, method="change only")
    expected = (photo + canvas.draw(painting) - tiny_generator.synthesize(codes)).clamp(-1, 1)
    assert torch.allclose(result.composite, expected, atol=1e-5)


def test_a_wide_stroke_keeps_what_painting_does_not_change(tiny_generator):
    codes = codes_of(tiny_generator, 2)
    stroke = UnitStroke(torch.ones(1, 32, 32), 6, (0,), torch.zeros(2, 1, 32, 32))
    base = tiny_generator.features(codes, [6])[6][:, :1]
    values = base + 4 * torch.nn.functional.pad(torch.ones(2, 1, 8, 8), (12, 12, 12, 12))
    painting = Painting((replace(stroke, values=values),))
    photo = torch.rand(2, 3, 32, 32) * 2 - 1
    canvas = Canvas(tiny_generator, codes)
    kept, whole = (render_painted_photo(canvas, painting, photo, fit=fit).mask for fit in (True, False))
    assert float(whole.min()) > 0.999 and float(kept[..., :4].max()) < 0.1 and float(kept[..., 16, 16].min()) > 0.5
    nothing = Painting((replace(stroke, values=base),))
    assert float(render_painted_photo(canvas, nothing, photo).mask.min()) > 0.999


def test_tones_of_a_grey_picture_make_the_painting_grey():
    rng = torch.Generator().manual_seed(4)
    unpainted, painted = (torch.rand(2, 3, 32, 32, generator=rng) * 2 - 1 for _ in range(2))
    beyond = 1 - left_half()[:, None]
    grey = unpainted.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    mapped = match_tone(painted, unpainted, grey, beyond)
    assert (mapped - mapped.mean(dim=1, keepdim=True)).abs().max() < 0.1
    assert torch.allclose(match_tone(painted, unpainted, unpainted, beyond), painted, atol=1e-3)


def test_a_further_stroke_begins_with_what_is_known(tiny_generator):
    codes, concepts = codes_of(tiny_generator), concepts_for(tiny_generator)
    canvas, painting = Canvas(tiny_generator, codes), Painting(family=tiny_generator.family)
    right = 1 - left_half()
    for mask, concept, form in ((left_half(), "hat", "donor"), (right, "hair", "donor"), (right, "hair", "units")):
        painting = paint_concept(tiny_generator, concepts, concept, mask, form=form, painting=painting)
        fresh = render_painting(tiny_generator, codes, painting)
        assert torch.allclose(canvas.draw(painting), fresh, atol=1e-6)
    assert torch.allclose(canvas.draw(Painting(painting.strokes[:1])), render_painting(
        tiny_generator, codes, Painting(painting.strokes[:1])), atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("at_once", [2**25, 40])
def test_nearest_cells_are_those_of_the_definition(at_once, monkeypatch):
    """Sought under the mask alone and in stretches; two pictures, one reference."""
    from semantic_edit.editing.paint import strokes

    monkeypatch.setattr(strokes, "_COMPARED_PAIRS", at_once)
    rng = torch.Generator().manual_seed(6)
    own, reference = torch.randn(2, 5, 12, 9, generator=rng), torch.randn(1, 5, 12, 9, generator=rng)
    mask, region = torch.zeros(2, 1, 12, 9), torch.zeros(1, 1, 12, 9)
    mask[0, 0, :4, 2:9], mask[1, 0, 11, 8], region[0, 0, 5:10, :4] = 1, 0.3, 1
    found = strokes._nearest_cells(own, mask, reference, reference, region)
    padded, other = (torch.nn.functional.pad(x, (1, 1, 1, 1)) for x in (own, reference))
    for k, y, x in mask[:, 0].nonzero().tolist():
        here = padded[k, :, y : y + 3, x : x + 3].flatten()
        likeness = {
            (row, column): torch.cosine_similarity(here, other[0, :, row : row + 3, column : column + 3].flatten(), 0)
            for row, column in region[0, 0].nonzero().tolist()
        }
        row, column = max(likeness, key=likeness.get)
        assert torch.equal(found[k, :, y, x], reference[0, :, row, column])
    assert not bool((found * (mask == 0)).any())
