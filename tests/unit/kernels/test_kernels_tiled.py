"""The tiled path against float64 definitions: Winograd tiles, small pictures and doubling, forward and backward."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.kernels import PreparedWeight, modulated_conv2d, setup_filter, use_kernels
from semantic_edit.kernels.modulated_conv import doubling, tiled_suits, winograd
from semantic_edit.kernels.modulated_conv.doubling import separable_taps
from semantic_edit.kernels.modulated_conv.winograd import TILE, transform_weight, transforms

FIR = setup_filter((1, 3, 3, 1))


def drawn(batch, inputs, outputs, height, width, up, seed=0, noises=1, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype)

    return {
        "x": randn(batch, inputs, height, width),
        "weight": randn(outputs, inputs, 3, 3),
        "styles": randn(batch, inputs) * 0.3 + 1,
        "noise": randn(noises, 1, up * height, up * width),
        "bias": randn(outputs),
    }


def run(parts, path, **options):
    with use_kernels(path):
        return modulated_conv2d(**parts, **options)


def suits(parts, up=1, fir=FIR, activation="lrelu", gain=1.0):
    return tiled_suits(parts["x"], parts["weight"], up, fir, parts["noise"], activation, gain)


def test_winograd_is_an_identity_of_filters():
    """Every 6 x 6 window and every 3 x 3 filter: the 4 x 4 outputs are the correlation, to float64."""
    window, kernel, inverse = transforms(torch.float64)
    rng = torch.Generator().manual_seed(0)
    data = torch.randn(50, 1, 6, 6, generator=rng, dtype=torch.float64)
    filters = torch.randn(7, 1, 3, 3, generator=rng, dtype=torch.float64)
    products = (window @ data.reshape(50, 36).t())[:, :, None] * (kernel @ filters.reshape(7, 9).t())[:, None]
    outputs = torch.einsum("yf,fno->noy", inverse, products).reshape(50, 7, TILE, TILE)
    assert (outputs - F.conv2d(data, filters)).abs().max() < 1e-12


def test_a_filter_turned_round_has_the_same_transform_in_another_order():
    from semantic_edit.kernels.modulated_conv.winograd import _adjoint_order

    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    turned = transform_weight(weight.flip(2, 3))
    assert (turned - transform_weight(weight)[_adjoint_order()]).abs().max() < 1e-12


def test_winograd_is_as_accurate_as_direct_convolution():
    rng = torch.Generator().manual_seed(1)
    x, weight = torch.randn(1, 256, 32, 32, generator=rng), torch.randn(32, 256, 3, 3, generator=rng)
    exact = modulated_conv2d(x.double(), weight.double(), torch.ones(1, 256, dtype=torch.float64))
    errors = {
        path: run({"x": x, "weight": weight, "styles": torch.ones(1, 256)}, path) - exact for path in ("fast", "tiled")
    }
    assert errors["tiled"].square().mean().sqrt() < 3e-6
    assert errors["tiled"].abs().max() < 3e-5
    assert not torch.equal(errors["fast"], errors["tiled"])


# Winograd with one and several pictures to a strip, an odd number of strips, wide pictures; small pictures; doubling
# with the strip's carried rows, with groups of pictures, with one row.
CASES = [
    (1, 16, 16, 32, 32, 1), (2, 17, 20, 64, 32, 1), (5, 16, 16, 16, 16, 1), (1, 16, 18, 36, 32, 1),
    (1, 16, 16, 4, 260, 1), (3, 16, 16, 20, 24, 1), (1, 18, 16, 5, 7, 1), (9, 16, 16, 4, 4, 1), (1, 16, 16, 1, 2, 1),
    (1, 16, 16, 4, 4, 2), (7, 16, 17, 4, 8, 2), (2, 17, 16, 32, 64, 2), (1, 16, 16, 40, 36, 2), (1, 16, 16, 1, 4, 2),
    (3, 16, 16, 16, 16, 2), (1, 16, 16, 7, 260, 2), (1, 16, 16, 3, 1024, 2),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("clamp", [None, 1.2])
@pytest.mark.parametrize("small_strips", [False, True])
def test_values_and_gradients(case, clamp, small_strips, monkeypatch):
    if small_strips:
        monkeypatch.setattr(winograd, "_STRIP", 16 * 20)
        monkeypatch.setattr(doubling, "_PIXELS_PER_STRIP", 60)
    batch, up = case[0], case[-1]
    parts = drawn(*case, noises=batch if batch % 2 else 1)
    names = ("x", "styles", "noise", "bias")
    options = {"up": up, "fir": FIR.double(), "activation": "lrelu", "gain": 1.3, "clamp": clamp}
    assert suits(parts, up, FIR.double())
    outcomes = []
    for path in ("reference", "tiled"):
        inputs = [parts[name].detach().clone().requires_grad_() for name in names]
        y = run({**parts, **dict(zip(names, inputs, strict=True))}, path, **options)
        outcomes.append((y.detach(), torch.autograd.grad((y * torch.sin(y)).sum(), inputs)))
    assert (outcomes[0][0] - outcomes[1][0]).abs().max() < 1e-12
    for name, exact, mine in zip(names, outcomes[0][1], outcomes[1][1], strict=True):
        assert (exact - mine).abs().max() < 1e-11 * exact.abs().max().clamp_min(1), name


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("wanted", ["x", "styles", "noise", "bias"])
def test_gradcheck_of_each_input_alone(up, wanted):
    parts = drawn(2, 16, 16, 4, 4, up)
    parts[wanted].requires_grad_()

    def layer(tensor):
        return run({**parts, wanted: tensor}, "tiled", up=up, fir=FIR.double(), activation="lrelu", clamp=2.0)

    assert torch.autograd.gradcheck(layer, (parts[wanted],), fast_mode=True)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("channels_last", [True, False])
def test_second_derivatives_are_those_of_the_reference(up, channels_last):
    """As of a path length: the gradient that comes in is constant, and its own gradient is asked for."""
    parts = drawn(2, 16, 16, 8, 8, up)
    if channels_last:
        parts["x"] = parts["x"].contiguous(memory_format=torch.channels_last)
    names = ["x", "styles", "noise", "bias"]
    constant = torch.cos(torch.arange(2 * 16 * (8 * up) ** 2, dtype=torch.float64)).view(2, 16, 8 * up, 8 * up)
    outcomes = []
    for path in ("reference", "tiled"):
        inputs = [parts[name].detach().clone().requires_grad_() for name in names]
        y = run({**parts, **dict(zip(names, inputs, strict=True))}, path, up=up, fir=FIR, activation="lrelu", clamp=3.0)
        first = torch.autograd.grad((y * constant).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum() + first[1].square().sum(), inputs[:2])
        outcomes.append((*first, *second))
    for exact, mine in zip(*outcomes, strict=True):
        assert torch.allclose(exact, mine, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("activation", ["linear", "lrelu"])
def test_without_noise_bias_and_demodulation(up, demodulate, activation):
    parts = drawn(2, 16, 16, 16, 32, up)
    parts = {name: parts[name].requires_grad_(name != "weight") for name in ("x", "weight", "styles")}
    results = []
    for path in ("reference", "tiled"):
        y = run(parts, path, up=up, fir=FIR.double(), demodulate=demodulate, activation=activation, gain=0.7)
        results.append((y.detach(), *torch.autograd.grad(y.square().sum(), (parts["x"], parts["styles"]))))
    for exact, mine in zip(*results, strict=True):
        assert (exact - mine).abs().max() < 1e-11 * exact.abs().max()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 6), height=st.integers(1, 12), width=st.integers(1, 12), up=st.sampled_from([1, 2]),
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    columns=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=st.integers(0, 100),
)  # fmt: skip
def test_any_size_and_separable_filter(batch, height, width, up, rows, columns, seed):
    if up == 2:
        width *= 4
    parts = drawn(batch, 16, 16, height, width, up, seed)
    fir = torch.outer(torch.tensor(rows, dtype=torch.float64), torch.tensor(columns, dtype=torch.float64))
    fir = fir / fir.sum()
    assert suits(parts, up, fir)
    exact = run(parts, "reference", up=up, fir=fir, activation="lrelu")
    mine = run(parts, "tiled", up=up, fir=fir, activation="lrelu")
    assert (exact - mine).abs().max() < 1e-11


def test_separable_taps_accept_only_what_factors():
    assert separable_taps(FIR, 4.0) is not None
    assert separable_taps(torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8, 4.0) == separable_taps(FIR, 4.0)
    assert separable_taps(torch.eye(4), 4.0) is None
    assert separable_taps(torch.ones(5, 5), 4.0) is None
    assert separable_taps(torch.tensor([[1.0, -1.0]]), 4.0) is None  # no sum to share


def test_what_the_tiled_path_leaves_to_the_others():
    parts = drawn(1, 16, 16, 8, 8, 1, dtype=torch.float32)
    assert suits(parts)
    assert not suits({**parts, "weight": parts["weight"].clone().requires_grad_()})
    assert not suits({**parts, "weight": parts["weight"][:, :, :1, :1]})
    assert not suits({**parts, "x": parts["x"].bfloat16()})
    assert not suits({**parts, "x": parts["x"].bfloat16(), "weight": parts["weight"].bfloat16()})
    assert not suits({**parts, "x": parts["x"][:0]})
    assert not suits({**parts, "noise": parts["noise"][:, :, :1]})
    assert not suits(parts, activation="tanh") and not suits(parts, gain=-1.0)
    assert not suits({**parts, "x": torch.zeros(1, 16, 50, 50), "noise": None})  # too large for one, odd for the other
    up = drawn(1, 16, 16, 8, 6, 2, dtype=torch.float32)
    assert not suits(up, up=2) and not suits(drawn(1, 16, 16, 8, 8, 2, dtype=torch.float32), 2, torch.eye(4))


def test_the_rule_takes_strips_for_wide_frozen_layers_whose_weights_are_kept(monkeypatch):
    from semantic_edit.kernels import modulated_conv

    taken = []

    def note(x, weight, *rest):
        taken.append(weight.shape[0])
        return modulated_conv.modulated_conv2d_naive(x, weight, *rest)

    monkeypatch.setattr(modulated_conv, "modulated_conv2d_tiled", note)
    for channels, up in ((127, 1), (128, 1), (128, 2)):
        parts = drawn(1, channels, channels, 4, 4, up, dtype=torch.float32)
        run(parts, "rule", up=up, fir=FIR)
        assert taken == [], "without a place to keep the weights"
        run(parts, "rule", up=up, fir=FIR, prepared=PreparedWeight())
        assert taken == ([128] if (channels, up) == (128, 1) else [])
        taken.clear()
    run(parts, "tiled", up=2, fir=FIR)
    assert taken == [128]


def test_trainable_weights_take_the_other_path_and_learn():
    parts = drawn(1, 16, 16, 8, 8, 1, dtype=torch.float32)
    parts["weight"].requires_grad_()
    modulated_conv2d(**parts, prepared=PreparedWeight()).sum().backward()
    assert parts["weight"].grad.abs().max() > 0


@pytest.mark.parametrize("up", [1, 2])
def test_a_broken_picture_leaves_its_neighbours_alone(up):
    parts = drawn(3, 16, 16, 4, 8, up, dtype=torch.float32)
    clean = run(parts, "tiled", up=up, fir=FIR)
    parts["x"][1] = float("nan")
    broken = run(parts, "tiled", up=up, fir=FIR)
    assert torch.equal(clean[::2], broken[::2]) and broken[1].isnan().all()
    large = drawn(2, 16, 16, 32, 32, up, dtype=torch.float32)
    clean = run(large, "tiled", up=up, fir=FIR)
    large["x"][0] = float("inf")
    assert torch.equal(clean[1], run(large, "tiled", up=up, fir=FIR)[1])


def test_the_graph_keeps_a_layers_input_and_output_only():
    parts = drawn(2, 16, 16, 32, 32, 1, dtype=torch.float32)
    parts["styles"].requires_grad_()
    sizes = []

    def pack(tensor):
        sizes.append((tensor.data_ptr(), tensor.numel()))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run(parts, "tiled", activation="lrelu")
    large = {pointer for pointer, size in sizes if size >= parts["x"].numel()}
    assert len(large) == 2


class TestPreparedWeight:
    """The cache beside a frozen weight."""

    def test_it_is_used_and_changes_nothing(self):
        parts = drawn(1, 96, 96, 32, 32, 1, dtype=torch.float32)
        prepared = PreparedWeight()
        first = run(parts, "tiled", prepared=prepared)
        kept = prepared.winograd(parts["weight"])
        assert torch.equal(first, run(parts, "tiled"))
        assert torch.equal(first, run(parts, "tiled", prepared=prepared))
        assert prepared.winograd(parts["weight"]) is kept

    @pytest.mark.parametrize(
        "change",
        [
            lambda w: w.mul_(2),
            lambda w: w[0, 0, 0].zero_(),
            lambda w: w.data.mul_(1.0001),
            lambda w: w.set_(torch.randn_like(w)),
            lambda w: torch.nn.init.normal_(w),
        ],
        ids=["in place", "a part in place", "through .data", "other storage", "initialised again"],
    )
    def test_a_changed_weight_is_seen(self, change):
        weight, prepared = torch.randn(16, 16, 3, 3), PreparedWeight()
        before = prepared.taps(weight), prepared.energy(weight), prepared.winograd(weight), prepared.phases(weight)
        with torch.no_grad():
            change(weight)
        after = prepared.taps(weight), prepared.energy(weight), prepared.winograd(weight), prepared.phases(weight)
        assert torch.equal(after[0][0], weight[:, :, 0, 0].t())
        assert torch.allclose(after[1], weight.square().sum(dim=(2, 3)))
        assert not torch.equal(before[2], after[2])
        assert torch.equal(after[3].even_above_left, weight[:, :, 2, 2].t())

    def test_another_weight_at_the_same_place_is_seen(self):
        prepared = PreparedWeight()
        for k in range(5):
            weight = torch.full((16, 16, 3, 3), float(k + 1))
            assert torch.equal(prepared.energy(weight), torch.full((16, 16), 9.0 * (k + 1) ** 2))
            del weight

    def test_a_moved_network_leaves_nothing_where_it_was(self, tiny_network):
        network = copy.deepcopy(tiny_network)
        layer = network.synthesis.b8.conv1
        first = layer.prepared.energy(layer.weight)
        network.to("cpu")  # it is there: what was prepared serves on
        assert layer.prepared.energy(layer.weight) is first
        network.to(torch.float64)
        assert layer.prepared._entry is None
        assert torch.equal(layer.prepared.energy(layer.weight), layer.weight.square().sum(dim=(2, 3)))

    def test_copies_and_pickles_are_empty(self):
        weight, prepared = torch.randn(16, 16, 3, 3), PreparedWeight()
        prepared.winograd(weight)
        assert copy.deepcopy(prepared)._entry is None
        assert len(pickle.dumps(prepared)) < 200

    def test_made_under_inference_mode_it_serves_autograd(self):
        parts = drawn(1, 96, 96, 32, 32, 1, dtype=torch.float32)
        prepared = PreparedWeight()
        with torch.inference_mode():
            run(parts, "tiled", prepared=prepared)
        parts["styles"].requires_grad_()
        run(parts, "tiled", prepared=prepared).square().sum().backward()
        assert parts["styles"].grad.abs().max() > 0
        with torch.inference_mode():
            made_inside = torch.randn(96, 96, 3, 3)
            prepared.winograd(made_inside)
        assert not prepared.winograd(made_inside).is_inference()
