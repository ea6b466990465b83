"""Work is cut into passes by the size of the pictures, and the cuts do not change what comes out."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from semantic_edit.editing import invert
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.editing.drag import changes as drag_changes
from semantic_edit.editing.drag import steps as drag_steps
from semantic_edit.editing.drag.drag import drag
from semantic_edit.editing.drag.points import DragPoints
from semantic_edit.editing.paint.unit_effects import shares_along
from semantic_edit.editing.photos.adaptation import adapt
from semantic_edit.editing.text.localize import localize_direction
from semantic_edit.models.gan.generator import GanGenerator


@pytest.fixture
def codes(tiny_generator):
    return tiny_generator.map(torch.randn(3, 16, generator=torch.Generator().manual_seed(2)))


@pytest.fixture
def one_by_one(monkeypatch):
    """Later calls see a generator so large that a graph holds one picture."""

    def narrow() -> None:
        monkeypatch.setattr(GanGenerator, "pictures_per_graph", lambda self, most=None: 1)

    return narrow


def test_how_many_pictures_share_a_graph(tiny_generator):
    sizes = {32: (512, 8), 256: (8, 8), 512: (2, 2), 1024: (1, 1), 2048: (1, 1)}
    for size, (alone, limited) in sizes.items():
        network = SimpleNamespace(
            config=SimpleNamespace(resolution=(size, size)), mapping=SimpleNamespace(w_avg=torch.zeros(1))
        )
        generator = replace(tiny_generator, network=network)
        assert (generator.pictures_per_graph(), generator.pictures_per_graph(8)) == (alone, limited)


@pytest.mark.parametrize("options", [{}, {"space": "w", "noise": 5}, {"starts": 2, "noise": "none"}])
@pytest.mark.parametrize("masks", [0, 1, 3])
def test_an_inversion_is_the_same_one_picture_at_a_time(tiny_generator, codes, one_by_one, options, masks):
    images = tiny_generator.synthesize(codes, options.get("noise", "constant"))
    mask = (torch.rand(masks, 1, 32, 32, generator=torch.Generator().manual_seed(0)) > 0.5).float() if masks else None
    settings = {"steps": 6, "mask": mask, "start": codes + 0.3, **options}
    together = invert(tiny_generator, images, **settings)
    one_by_one()
    alone = invert(tiny_generator, images, **settings)
    # Adam's first steps are as long for a tiny gradient as for a large one, so a single number may feel the rounding.
    apart = (together.codes - alone.codes).abs()
    assert apart.mean() < 5e-5 and apart.max() < 0.02
    assert (together.psnr - alone.psnr).abs().max() < 1e-2 and together.starts == alone.starts


def test_an_inversion_by_an_adapted_generator_sees_the_photos_of_the_whole_batch(tiny_generator, codes, one_by_one):
    photos = tiny_generator.synthesize(codes) * 0.8 + 0.1
    adapted = adapt(tiny_generator, photos, codes, "residual").generator
    start = codes[[2, 0]]
    together = invert(adapted, photos[[2, 0]], start=start, steps=3)
    one_by_one()
    alone = invert(adapted, photos[[2, 0]], start=start, steps=3)
    assert (together.images - alone.images).abs().max() < 1e-3


def test_shares_of_units_are_the_same(tiny_generator, codes, one_by_one):
    layer = 3
    features = tiny_generator.features(codes, [layer])[layer]
    region, goal = torch.ones(3, 1, *features.shape[2:]), torch.zeros(features.shape[1])

    def score(image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=1, keepdim=True).sigmoid()

    together = shares_along(tiny_generator, layer, codes, features, region, goal, score, 0)
    one_by_one()
    alone = shares_along(tiny_generator, layer, codes, features, region, goal, score, 0)
    assert (together - alone).abs().max() < 1e-5 * together.abs().max()


def test_free_deltas_are_the_same(tiny_generator, codes, one_by_one):
    photos = tiny_generator.synthesize(codes) * 0.8 + 0.1
    together = adapt(tiny_generator, photos, codes, "free", steps=3).generator.synthesize(codes)
    one_by_one()
    alone = adapt(tiny_generator, photos, codes, "free", steps=3).generator.synthesize(codes)
    assert (together - alone).abs().max() < 1e-3


def test_a_drag_is_the_same_when_its_features_are_held_in_stretches(tiny_generator, codes, monkeypatch):
    points = DragPoints(torch.tensor([[12.0, 16.0]]), torch.tensor([[15.0, 16.0]]))
    at_once = drag(tiny_generator, codes[:1], points)
    trials = []
    plain = drag_changes.measure_changes

    def watched(look, first, *others):
        assert first.numel() * 16 > 2 * 5000  # components of a W of 16
        return plain(lambda trial: trials.append(len(trial)) or look(trial), first, *others)

    monkeypatch.setattr(drag_steps, "measure_changes", watched)
    monkeypatch.setattr(drag_changes, "_HELD", 5000)
    pieces = drag(tiny_generator, codes[:1], points)
    assert sum(trials) > 2 * 16
    assert (at_once.code - pieces.code).abs().max() < 1e-3


@pytest.mark.parametrize("keep_outside", [False, True])
def test_a_direction_finds_the_same_regions_picture_by_picture(tiny_generator, codes, one_by_one, keep_outside):
    rng = torch.Generator().manual_seed(4)
    step, masks = torch.randn(8, 16, generator=rng), torch.rand(3, 2, 8, 8, generator=rng)
    direction = EditDirection(step, step, family=tiny_generator.family)
    parts = PartLabels(masks / masks.sum(dim=1, keepdim=True), ("a", "b"))
    graphs = []

    def found():
        graphs.clear()
        synthesis = tiny_generator.network.synthesis
        counting = synthesis.register_forward_pre_hook(
            lambda _, args: graphs.append(len(args[0])) if len(args) > 1 and args[1].blend else None
        )
        try:
            arguments = (tiny_generator, direction, codes, parts)
            return localize_direction(*arguments, steps=6, keep_outside=keep_outside).selection
        finally:
            counting.remove()

    together = found()
    assert graphs == [4] * 6
    one_by_one()
    assert torch.allclose(found(), together, atol=1e-3) and graphs == [1] * 24
