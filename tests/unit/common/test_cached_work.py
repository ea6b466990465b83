"""What stays the same from step to step is made once, and nothing else changes by it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.common.similarity import SSIMTarget, _window_means, perceptual_distance
from semantic_edit.editing.one_for_all import directions
from semantic_edit.editing.paint import dissection
from semantic_edit.editing.paint.blending import dilated
from semantic_edit.editing.paint.dissection import dissect
from semantic_edit.editing.photos import adaptation_fit
from semantic_edit.editing.photos.adaptation import adapt
from semantic_edit.editing.photos.inversion import invert
from semantic_edit.editing.text.settings import TextEditSettings
from semantic_edit.editing.text.trainable_edit import TrainableEdit
from semantic_edit.models.gan.layer_blend import resized_mask


@pytest.fixture
def codes(tiny_generator):
    return tiny_generator.map(torch.randn(3, 16, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def runs(tiny_generator, monkeypatch):
    """How many pictures each run of the synthesis had, and whether it went on from a layer."""
    runs, forward = [], tiny_generator.network.synthesis.forward

    def counted(ws, options=None):
        runs.append((len(ws), options is not None and options.resume is not None))
        return forward(ws, options)

    monkeypatch.setattr(tiny_generator.network.synthesis, "forward", counted)
    return runs


def edited(codes, rows):
    after = codes[0].clone()
    after[rows] += 0.3 * (codes[1] - codes[0])[rows]
    return codes[0], after


@pytest.mark.parametrize("search", directions.SEARCHES)
@pytest.mark.parametrize("rows", [[4, 5], [7], [3, 6]])
def test_a_direction_of_late_rows_begins_where_they_do(tiny_generator, codes, runs, monkeypatch, search, rows):
    settings = dict(variant="text", steps=3, batch=4, chunk=2, search=search)
    shared = directions.optimize_direction(tiny_generator, *edited(codes, rows), **settings).direction
    assert [resumed for _, resumed in runs[:2]] == [False, False] and all(resumed for _, resumed in runs[2:])
    monkeypatch.setattr(directions, "_CACHE_BYTES", 0)
    assert torch.equal(
        shared, directions.optimize_direction(tiny_generator, *edited(codes, rows), **settings).direction
    )


def test_a_direction_whose_rows_lie_beyond_a_small_picture(tiny_generator, codes):
    settings = dict(variant="text", steps=2, batch=2, landing="direction", stop_resolution=8)
    with pytest.raises(Exception, match="length 0"):  # nothing to see there: as before
        directions.optimize_direction(tiny_generator, *edited(codes, [7]), **settings)


def test_a_quasi_newton_search_draws_its_goals_once(tiny_generator, codes, runs):
    settings = dict(variant="text", steps=4, batch=4, chunk=2, search="quasi-newton")
    directions.optimize_direction(tiny_generator, *edited(codes, [0, 1]), **settings)
    assert len(runs) == 2 + 4 * 2


def test_window_means_are_means_of_what_the_picture_has():
    x = torch.rand(2, 6, 19, 23, generator=torch.Generator().manual_seed(0))
    pooled = F.avg_pool2d(x, 7, 1, 3, count_include_pad=False)
    assert torch.allclose(_window_means(x), pooled, atol=1e-6)
    assert torch.allclose(_window_means(x.double()), pooled.double(), atol=1e-6)


def test_an_ssim_target_serves_any_number_of_comparisons():
    rng = torch.Generator().manual_seed(0)
    goal, weight = torch.rand(2, 3, 40, 40, generator=rng), torch.rand(1, 1, 40, 40, generator=rng)
    target = SSIMTarget.from_images(goal, weight)
    for _ in range(2):
        x = torch.rand(2, 3, 40, 40, generator=rng)
        assert torch.equal(target.distance(x), perceptual_distance(x, goal, weight))
    assert float(target.distance(goal).abs().max()) < 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_an_inversion_without_room_to_keep_looks(tiny_generator, codes, monkeypatch, masked):
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 4:30, 6:28] = 1
    pictures = tiny_generator.synthesize(codes)
    settings = dict(start=codes.roll(1, 0), steps=4, mask=mask if masked else None)
    cached = invert(tiny_generator, pictures, **settings).codes
    monkeypatch.setattr("semantic_edit.editing.photos.inversion._CACHE_BYTES", 0)
    assert torch.equal(cached, invert(tiny_generator, pictures, **settings).codes)


@pytest.mark.parametrize(("size", "radius"), [((9, 14), 1), ((20, 17), 4), ((40, 33), 16), ((5, 6), 9)])
def test_a_mask_grows_by_a_disk(size, radius):
    rng = torch.Generator().manual_seed(radius)
    mask = torch.rand(2, 1, *size, generator=rng) * (torch.rand(2, 1, *size, generator=rng) > 0.9)
    expected = torch.zeros_like(mask)
    for y in range(size[0]):
        for x in range(size[1]):
            near = [
                mask[:, :, v, u]
                for v in range(max(0, y - radius), min(size[0], y + radius + 1))
                for u in range(max(0, x - radius), min(size[1], x + radius + 1))
                if (v - y) ** 2 + (u - x) ** 2 <= radius**2
            ]
            expected[:, :, y, x] = torch.stack(near).amax(dim=0)
    assert torch.equal(dilated(mask, radius), expected)


def test_a_dissection_draws_what_it_cannot_keep_again(tiny_generator, runs, monkeypatch):
    codes = tiny_generator.map(torch.randn(dissection.FEWEST, 16, generator=torch.Generator().manual_seed(2)))

    def label(pictures, _):
        return torch.stack([pictures[:, 0] > 0, pictures[:, 0] <= 0], dim=1).float()

    cached = dissect(tiny_generator, codes, label, ("light", "dark"), 4)
    once = len(runs)
    monkeypatch.setattr(dissection, "_CACHE_BYTES", 0)
    again = dissect(tiny_generator, codes, label, ("light", "dark"), 4)
    assert len(runs) == 3 * once
    for name in ("iou", "effect", "inside", "outside", "top", "threshold"):
        assert torch.equal(getattr(cached, name), getattr(again, name))


@pytest.mark.parametrize("method", ["residual", "free", "weights + residual"])
def test_an_adaptation_is_reported_from_where_it_began(tiny_generator, codes, runs, monkeypatch, method):
    photos = (0.7 * tiny_generator.synthesize(codes) + 0.1).roll(3, dims=3)
    shared = adapt(tiny_generator, photos, codes, method, steps=2)
    full_runs = sum(not resumed for _, resumed in runs)
    monkeypatch.setattr(adaptation_fit, "_CACHE_BYTES", 0)
    runs.clear()
    again = adapt(tiny_generator, photos, codes, method, steps=2)
    assert torch.equal(shared.images, again.images) and torch.equal(shared.psnr_before, again.psnr_before)
    assert torch.equal(shared.images, shared.generator.synthesize(codes)), "the report shows the generator's own"
    assert full_runs < sum(not resumed for _, resumed in runs) or "weights" in method


def test_parts_at_the_layers_sizes_are_those_of_every_step(tiny_generator, codes):
    parts = PartLabels(torch.rand(3, 4, 24, 24, generator=torch.Generator().manual_seed(0)), ("a", "b", "c", "d"))
    rng = torch.Generator().manual_seed(0)
    model = TrainableEdit(tiny_generator, codes, parts, range(8), TextEditSettings(coordinates="plain"), rng)
    pictures = torch.tensor([2, 0])
    for size in ((8, 8), (24, 24), (32, 32), (8, 8)):
        masks = resized_mask(model._labels(pictures, size), size)
        assert torch.equal(masks, resized_mask(parts.masks[pictures], size))
