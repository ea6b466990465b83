"""All that a StyleGAN3 can be edited by, at a tiny size; what it cannot be edited by says so in one sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing import apply_edit, compute_strength, invert, optimize_direction
from semantic_edit.editing.drag.drag import METHODS as DRAGS
from semantic_edit.editing.drag.drag import drag
from semantic_edit.editing.drag.features import Templates, disk, feature_layer
from semantic_edit.editing.drag.points import DragPoints
from semantic_edit.editing.one_for_all.discover import METHODS, component_edit, find_components
from semantic_edit.editing.paint.concepts import ConceptUnits
from semantic_edit.editing.paint.dissection import dissect_and_rank
from semantic_edit.editing.paint.strokes import copy_appearance, paint_concept
from semantic_edit.editing.photos.adaptation import adapt
from semantic_edit.editing.text.edit import check_styles
from semantic_edit.editing.text.feature_parts import parts_from_features
from semantic_edit.models import InputError
from semantic_edit.models.files.adaptation import read_adaptation, write_adaptation
from semantic_edit.models.gan.adaptation import with_adaptation
from semantic_edit.models.gan.synthesis_run import SynthesisOptions


def codes(generator, count: int, seed: int = 1) -> torch.Tensor:
    return generator.map(torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(seed)))


def test_one_edit_is_brought_to_all(tiny_stylegan3):
    example, others = codes(tiny_stylegan3, 2), codes(tiny_stylegan3, 3, seed=2)
    direction = optimize_direction(tiny_stylegan3, example[0], example[1], steps=4, batch=2)
    assert direction.family == tiny_stylegan3.family
    alpha = compute_strength(direction, others)
    edited = apply_edit(others, direction, alpha)
    assert bool(torch.isfinite(alpha).all()) and edited.shape == others.shape
    assert float((tiny_stylegan3.synthesize(edited) - tiny_stylegan3.synthesize(others)).abs().mean()) > 1e-3


def test_pictures_are_inverted(tiny_stylegan3):
    w = codes(tiny_stylegan3, 2)
    pictures = tiny_stylegan3.synthesize(w).clamp(-1, 1)
    few, many = (invert(tiny_stylegan3, pictures, steps=steps).psnr for steps in (1, 25))
    assert bool((many > few + 1).all())


@pytest.mark.parametrize("method", METHODS)
def test_directions_are_discovered(tiny_stylegan3, method):
    components = find_components(tiny_stylegan3, method)
    edit = component_edit(tiny_stylegan3, components, 0)
    assert edit.direction.shape == (7, 16) and float(edit.direction.norm()) > 0
    if method == METHODS[1]:  # each row's own weights: the input's turn and shift, the layers' styles, the colours'
        ones = [find_components(tiny_stylegan3, method, [row]).vectors[0] for row in (0, 3, 6)]
        assert abs(float(ones[0] @ ones[1])) < 0.99 and abs(float(ones[1] @ ones[2])) < 0.99


def test_features_for_a_drag_end_with_the_picture(tiny_stylegan3):
    """A map reaches ten samples beyond the picture; a point of the picture has to be looked for within it."""
    layer = feature_layer(tiny_stylegan3, 0.5)
    assert layer == 2 and tiny_stylegan3.network.synthesis.layer_size(layer)[1] == 36
    w = codes(tiny_stylegan3, 1)
    state = tiny_stylegan3.network.synthesis(w, SynthesisOptions(stop_layer=layer)).state
    assert torch.equal(tiny_stylegan3.features(w, [layer])[layer], state.features[:, :, 10:26, 10:26])


@pytest.mark.parametrize("method", DRAGS)
def test_points_are_dragged(tiny_stylegan3, method):
    w = codes(tiny_stylegan3, 1)
    moved = w + 0.5 * (codes(tiny_stylegan3, 1, seed=6) - w)
    layer = feature_layer(tiny_stylegan3, 0.5)
    before, after = (tiny_stylegan3.features(x, [layer])[layer] for x in (w, moved))
    handles = torch.tensor([[13.0, 16.0]])
    targets, _ = Templates.of(before, handles, disk(3.0, 2.0), (32, 32)).track(after, handles, 8.0, 1.0)
    settings = replace(DRAGS[method], steps=15, tolerance=0.01, learning_rate=0.02)
    region = torch.ones(32, 32)
    region[:8] = 0
    result = drag(tiny_stylegan3, w, DragPoints(handles, targets), region, settings=settings)
    assert float(result.distances[0]) > 1 and float(result.distances[-1]) < 0.9 * float(result.distances[0])


@pytest.mark.parametrize("method", ["free + residual", "network", "weights"])
def test_photos_adapt_it_and_the_adaptation_is_kept(tmp_path, tiny_stylegan3, method):
    w = codes(tiny_stylegan3, 2)
    photos = (tiny_stylegan3.synthesize(w) * 0.6).clamp(-1, 1)
    result = adapt(tiny_stylegan3, photos, w, method, steps=6, names=("a", "b"))
    assert bool((result.psnr > result.psnr_before).all())
    file = write_adaptation(tmp_path / "a.safetensors", result.generator.adaptation)
    again = with_adaptation(tiny_stylegan3, read_adaptation(file))
    assert float((again.synthesize(w) - result.images).abs().max()) < 1e-4
    moved = w + 0.3 * (codes(tiny_stylegan3, 1, seed=6) - w)  # its details follow what moves, margins and all
    assert again.synthesize(moved).shape == (2, 3, 32, 32)
    assert torch.isfinite(again.synthesize(moved)).all()


def test_details_follow_the_picture_and_not_its_margin(tiny_stylegan3):
    """A delta of a layer with margins moves by the same share of the picture as one of a layer without."""
    from semantic_edit.models.gan.feature_flow import FeatureFlow

    shift = torch.zeros(1, 2, 8, 8)
    shift[:, 0] = 2.0  # a quarter of the picture to the left
    flow = FeatureFlow(shift, torch.ones(1, 1, 8, 8))
    plain = torch.zeros(1, 1, 16, 16)
    plain[..., 8] = 1.0
    framed = torch.nn.functional.pad(plain, (10, 10, 10, 10))
    assert torch.equal(flow.carry(framed, 10)[..., 10:26, 10:26], flow.carry(plain))
    assert int(flow.carry(framed, 10)[0, 0, 18].argmax()) == 14


def test_parts_come_from_its_features(tiny_stylegan3):
    parts = parts_from_features(tiny_stylegan3, codes(tiny_stylegan3, 2), count=2, height=16, samples=4)
    assert len(parts) == 2 and parts.masks.shape[-2:] == (16, 16)


def test_what_does_not_apply_says_so(tiny_stylegan3):
    w, mask = codes(tiny_stylegan3, 64), torch.ones(1, 8, 8)
    with pytest.raises(InputError, match="StyleGAN3, which draws one code for the whole picture"):
        check_styles(tiny_stylegan3)
    units = torch.ones(1, 10)
    concepts = ConceptUnits(
        layer=2, names=["x"], iou=units, effect=units, top=units[0], inside=units, outside=units, threshold=units,
        share=torch.ones(1),
    )  # fmt: skip
    tries = [
        lambda: dissect_and_rank(tiny_stylegan3, w, lambda x, _: x[:, :1], ["x"], ranking="overlap"),
        lambda: copy_appearance(tiny_stylegan3, w[:1], mask, w[1:2], mask),
        lambda: paint_concept(tiny_stylegan3, concepts, "x", mask),
    ]
    for attempt in tries:
        with pytest.raises(InputError, match="StyleGAN3, whose features are turned and shifted"):
            attempt()
