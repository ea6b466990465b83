"""Dragging on a small random generator: handles arrive, what is fixed stays, and nothing else is touched."""

from dataclasses import replace

import pytest
import torch
from semantic_edit.editing.drag.drag import METHODS, PUBLISHED, DragSettings, drag
from semantic_edit.editing.drag.features import Templates, disk, feature_layer, published_patch, sample, square
from semantic_edit.editing.drag.points import DragPoints
from semantic_edit.models import InputError
from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint

FEW = replace(DragSettings(), steps=4)


def points(*pairs):
    ends = torch.tensor(pairs, dtype=torch.float32)
    return DragPoints(ends[:, 0], ends[:, 1])


def code(generator, seed=5):
    return generator.map(torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture
def wide_generator(make_network):
    """Twice as wide as high."""
    network = make_network(const_size=(4, 8), channels=(10, 8, 6))
    return GanGenerator(network, family_fingerprint(network), "wide")


def a_move_that_is_possible(generator, w, other):
    """Where the look of a place has gone when the code went a part of the way to another: (points, that code)."""
    moved = w + 0.5 * (other - w)
    layer, size = feature_layer(generator, 0.5), generator.resolution
    first, last = (generator.features(x, [layer])[layer] for x in (w, moved))
    handles = torch.tensor([[size[1] * 0.4, size[0] * 0.5]])
    templates = Templates.of(first, handles, disk(3.0, 2.0), size)
    targets, _ = templates.track(last, handles, 8.0, 1.0)
    return DragPoints(handles, targets), moved


@pytest.mark.parametrize("method", METHODS)
def test_handles_come_nearer_and_the_input_stays(tiny_generator, method):
    w = code(tiny_generator)
    original = w.clone()
    drags, _ = a_move_that_is_possible(tiny_generator, w, code(tiny_generator, 6))
    far = float((drags.targets - drags.handles).norm())
    assert far > 1
    settings = replace(METHODS[method], steps=25, tolerance=0.01, learning_rate=0.02)
    result = drag(tiny_generator, w, drags, settings=settings)
    assert torch.equal(w, original) and result.code.shape == w.shape
    assert result.positions.shape == (result.steps + 1, 1, 2) and torch.equal(result.positions[0], drags.handles)
    assert float(result.distances[0]) == pytest.approx(far, abs=1e-4)
    assert float(result.distances[-1]) < (0.4 if method == "least change" else 0.9) * far
    assert result.stop in ("arrived", "no further", "out of steps") and result.outside is None


@pytest.mark.parametrize("method", METHODS)
def test_only_the_chosen_rows_change(tiny_generator, method):
    w = code(tiny_generator)
    result = drag(
        tiny_generator, w, points([[12, 16], [18, 16]]), rows=[0, 2], settings=replace(METHODS[method], steps=3)
    )
    change = (result.code - w).abs().amax(dim=2)[0]
    assert bool((change[[0, 2]] > 0).all()) and float(change[[1, 3, 4, 5, 6, 7]].max()) == 0


def test_least_change_moves_chosen_rows_alike(tiny_generator):
    w = code(tiny_generator)
    change = (drag(tiny_generator, w, points([[12, 16], [18, 16]]), settings=FEW).code - w)[0]
    torch.testing.assert_close(change[:6], change[:1].expand(6, -1), atol=1e-5, rtol=1e-5)
    assert float(change[:6].abs().max()) > 0 and float(change[6:].abs().max()) == 0  # rows 0 to 5 unless told otherwise


def test_a_region_holds_the_rest(tiny_generator):
    w = code(tiny_generator)
    drags = points([[8, 8], [12, 8]])
    region = torch.zeros(32, 32)
    region[:16, :16] = 1
    held = drag(tiny_generator, w, drags, region, settings=replace(FEW, region_weight=3.0))
    free = drag(tiny_generator, w, drags, region, settings=replace(FEW, region_weight=0.0))
    assert 0 < held.outside < free.outside


def test_the_same_again_is_the_same(tiny_generator):
    w, drags = code(tiny_generator), points([[12, 16], [18, 14]], [[20, 20], [19, 24]])
    first, second = (drag(tiny_generator, w, drags, settings=FEW) for _ in range(2))
    assert torch.equal(first.code, second.code) and torch.equal(first.positions, second.positions)


@pytest.mark.parametrize("method", METHODS)
def test_a_drag_that_is_done_already_does_nothing(tiny_generator, method):
    w = code(tiny_generator)
    settings = replace(METHODS[method], tolerance=0.5)
    result = drag(tiny_generator, w, points([[12, 16], [12.5, 16]]), settings=settings)
    assert result.steps == 0 and result.stop == "arrived" and torch.equal(result.code, w)


@pytest.mark.parametrize("method", METHODS)
def test_wide_pictures_and_few_layers(wide_generator, method):
    assert wide_generator.resolution == (16, 32)
    region = torch.ones(16, 32)
    region[:, 20:] = 0
    settings = replace(METHODS[method], steps=3)
    result = drag(wide_generator, code(wide_generator), points([[28, 8], [24, 8]]), region, settings=settings)
    assert bool(torch.isfinite(result.code).all()) and float(result.positions[..., 0].max()) > 16


def test_previews_come_every_few_steps_and_an_interruption_goes_through(tiny_generator):
    w, drags, reports = code(tiny_generator), points([[10, 16], [24, 16]]), []
    settings = replace(PUBLISHED, steps=7, learning_rate=1e-4)
    drag(tiny_generator, w, drags, settings=settings, preview_every=3,
         progress=lambda step, total, preview: reports.append((step, total, preview)))  # fmt: skip
    assert [step for step, _, _ in reports] == list(range(1, 8)) and {total for _, total, _ in reports} == {7}
    assert [step for step, _, preview in reports if preview is not None] == [3, 6, 7]
    assert reports[2][2].shape == (3, 32, 32)

    class StoppedError(Exception):
        pass

    def stop(step, total, preview):
        raise StoppedError

    with pytest.raises(StoppedError):
        drag(tiny_generator, w, drags, settings=FEW, progress=stop)


def test_it_works_under_inference_mode_and_leaves_the_weights_alone(tiny_generator):
    network = tiny_generator.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        w = code(tiny_generator)
        result = drag(tiny_generator, w, points([[12, 16], [18, 16]]), torch.ones(32, 32), settings=FEW)
    assert not result.code.is_inference() and not result.code.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_other_families_of_generators_can_be_dragged(tiny_progan):
    w = tiny_progan.map(torch.randn(1, tiny_progan.z_dim, generator=torch.Generator().manual_seed(1)))
    result = drag(tiny_progan, w, points([[12, 16], [18, 16]]), settings=FEW)
    assert bool(torch.isfinite(result.code).all())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(w="two"), "One code is dragged at a time"),
        (dict(w="short"), "expects \\[B, 8, 16\\]"),
        (dict(points=points([[12, 16], [40, 16]])), "target lies outside"),
        (dict(points=points([[-1, 16], [4, 16]])), "handle lies outside"),
        (dict(points=DragPoints(torch.zeros(0, 2), torch.zeros(0, 2))), "no points"),
        (dict(region=torch.ones(16, 16)), "expected \\[32, 32\\]"),
        (dict(region=torch.zeros(32, 32)), "nothing may move"),
        (dict(rows=[8]), "rows 0 to 7"),
        (dict(settings=replace(FEW, method="best")), "Unknown method"),
        (dict(settings=replace(FEW, steps=0)), "at least 1"),
        (dict(settings=replace(FEW, tolerance=0.0)), "tolerance"),
        (dict(settings=replace(FEW, region_weight=-1.0)), "negative"),
        (dict(settings=replace(FEW, feature_ratio=1.5)), "feature ratio"),
        (dict(settings=replace(FEW, feature_height=0)), "feature height"),
    ],
)
def test_wrong_inputs_are_refused(tiny_generator, changes, words):
    w = code(tiny_generator)
    arguments = dict(w=w, points=points([[12, 16], [18, 16]]), settings=FEW) | changes
    arguments["w"] = {"two": w.repeat(2, 1, 1), "short": w[:, :3]}.get(changes.get("w"), w)
    with pytest.raises(InputError, match=words):
        drag(tiny_generator, **arguments)


def test_the_feature_layer_follows_the_ratio(tiny_generator):
    sizes = [tiny_generator.network.synthesis.layer_size(layer)[1] for layer in range(7)]
    assert sizes == [4, 8, 8, 16, 16, 32, 32]
    assert [feature_layer(tiny_generator, ratio) for ratio in (0.1, 0.25, 0.3, 0.5, 1.0)] == [0, 2, 4, 4, 6]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("blocks", "expected"), [(5, 32), (6, 64), (7, 128), (8, 128), (9, 128)])
def test_features_are_read_at_128_px_as_published_however_large_the_picture(make_network, method, blocks, expected):
    network = make_network(channels=(4,) * blocks)
    generator = GanGenerator(network, family_fingerprint(network), "large")
    synthesis, layers = network.synthesis, set()
    hook = synthesis.register_forward_pre_hook(lambda _, inputs: layers.add(inputs[1].stop_layer))
    size = generator.resolution[0]
    drags = points([[size / 2, size / 2], [size / 2 + 9, size / 2]])
    drag(generator, code(generator), drags, settings=replace(METHODS[method], steps=1), preview_every=0)
    hook.remove()
    assert [synthesis.layer_size(layer)[1] for layer in layers] == [expected]
    assert synthesis.layer_size(feature_layer(generator, 1.0, size))[1] == size  # another height may be asked for


def test_the_published_patch_is_that_of_the_released_loop():
    """Whole pixels nearer than round(3 / 512 of the height): 1 at 128 px, 9 at 256, 25 at 512."""
    sizes = {height: len(published_patch(round(PUBLISHED.patch * height))) for height in (64, 128, 256, 512, 1024)}
    nearer = {
        height: max(1, sum(x * x + y * y < round(3 / 512 * height) ** 2 for x in range(-9, 10) for y in range(-9, 10)))
        for height in sizes
    }
    assert sizes == nearer and (sizes[128], sizes[256], sizes[512]) == (1, 9, 25)


def test_sampling_reads_the_middle_of_a_feature_where_it_is():
    features = torch.arange(12.0).reshape(1, 1, 3, 4)
    size = (30, 40)
    assert sample(features, torch.tensor([[15.0, 5.0]]), size).item() == pytest.approx(1.0)
    assert sample(features, torch.tensor([[20.0, 15.0]]), size).item() == pytest.approx(5.5)
    assert sample(features, torch.tensor([[[0.0, 0.0], [40.0, 30.0]]]), size).shape == (1, 2, 1)
    assert disk(1.0).shape == (5, 2) and disk(0.2).tolist() == [[0.0, 0.0]] and square(2.0, 1.0).shape == (5, 5, 2)


def test_tracking_follows_a_shift_below_a_pixel_and_flow_predicts_it():
    xs, ys = torch.meshgrid(torch.arange(24.0) + 0.5, torch.arange(24.0) + 0.5, indexing="xy")

    def blob(x, y):
        bump = torch.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 18)
        return torch.stack([bump, bump * xs / 24, bump * ys / 24])[None]

    start = torch.tensor([[11.0, 12.0]])
    templates = Templates.of(blob(11, 12), start, disk(2.0), (24, 24))
    tracked, misfit = templates.track(blob(12.3, 11.6), start, 4.0, 1.0)
    torch.testing.assert_close(tracked, torch.tensor([[12.3, 11.6]]), atol=0.15, rtol=0)
    assert float(misfit) < 0.01
    weights, sampled_at = templates.motion_weights(blob(11, 12), start, 1.0)
    change = sample(blob(11.3, 11.8), sampled_at, (24, 24)) - sample(blob(11, 12), sampled_at, (24, 24))
    moved = torch.einsum("nakc,nkc->na", weights, change)
    torch.testing.assert_close(moved, torch.tensor([[0.3, -0.2]]), atol=0.06, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_tolerance_below_the_published_one_counts(tiny_generator, method):
    w, drags = code(tiny_generator), points([[16, 16], [17.5, 16]])
    own = drag(tiny_generator, w, drags, settings=replace(METHODS[method], steps=3))
    finer = drag(tiny_generator, w, drags, settings=replace(METHODS[method], steps=3, tolerance=0.5 / 32))
    assert (own.steps == 0) == (method == "published")  # two pixels are near enough there
    assert finer.steps > 0 and (finer.stop != "arrived" or float(finer.distances[-1]) <= 0.5)
