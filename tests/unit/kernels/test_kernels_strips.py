"""Strips as threads, bands of the fast path, the number of threads on a busy machine, and that bytes depend on none."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch
from semantic_edit.kernels import (
    PreparedWeight,
    modulated_conv2d,
    setup_filter,
    sharing_cores,
    spare_cores,
    use_kernels,
)
from semantic_edit.kernels.modulated_conv import bands, doubling, winograd
from semantic_edit.kernels.strips import run_strips

FIR = setup_filter((1, 3, 3, 1))


@pytest.fixture(autouse=True)
def two_threads():
    count = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(count)


def drawn(batch, inputs, outputs, height, width, up, noises=1, dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(shape, generator=rng).to(dtype)

    return {
        "x": randn(batch, inputs, height, width).contiguous(memory_format=torch.channels_last),
        "weight": randn(outputs, inputs, 3, 3),
        "styles": randn(batch, inputs) * 0.3 + 1,
        "noise": randn(noises, 1, up * height, up * width),
        "bias": randn(outputs),
    }


def test_every_strip_is_worked_once_by_one_of_the_threads():
    worked, makers = [], []

    def make_worker():
        makers.append(threading.get_ident())

        def work(strip):
            worked.append((strip, threading.get_ident(), torch.get_num_threads()))
            time.sleep(0.002)

        return work

    run_strips(range(40), make_worker)
    assert sorted(strip for strip, _, _ in worked) == list(range(40))
    assert len(set(makers)) == len(makers) == 2
    assert {inside for _, _, inside in worked} == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_any_thread_ends_the_work_and_leaves_the_setting(error):
    main, worked = threading.get_ident(), []

    def make_worker():
        def work(strip):
            time.sleep(0.001)
            worked.append(strip)
            if strip >= 4 and (threading.get_ident() == main) == (error is KeyboardInterrupt):
                raise error("stopped")

        return work

    with pytest.raises(error, match="stopped"):
        run_strips(range(1000), make_worker)
    assert len(worked) < 1000 and torch.get_num_threads() == 2
    run_strips(range(8), lambda: worked.append)  # and the threads serve again


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_process_has_threads_of_its_own():
    run_strips(range(8), lambda: lambda strip: time.sleep(0.001))
    child = os.fork()
    if child == 0:
        names = set()
        run_strips(range(40), lambda: lambda strip: (names.add(threading.get_ident()), time.sleep(0.005)))
        os._exit(0 if len(names) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0


# Winograd in strips, several pictures to a strip; small pictures; doubling in runs that share rows.
CASES = [
    (1, 16, 16, 32, 32, 1),
    (5, 16, 20, 16, 16, 1),
    (9, 16, 16, 6, 6, 1),
    (1, 16, 16, 80, 36, 2),
    (5, 16, 16, 8, 8, 2),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("noises", ["one", "each"])
def test_the_number_of_threads_changes_no_byte(case, noises, monkeypatch):
    monkeypatch.setattr(winograd, "_STRIP", 16 * 20)
    monkeypatch.setattr(doubling, "_PIXELS_PER_STRIP", 60)
    up, outcomes = case[-1], []
    for threads in (1, 2, 3, 2):
        torch.set_num_threads(threads)
        parts = drawn(*case, noises=case[0] if noises == "each" else 1)
        leaves = [parts[name].requires_grad_() for name in ("x", "styles", "noise", "bias")]
        with use_kernels("tiled"):
            y = modulated_conv2d(**parts, up=up, fir=FIR, activation="lrelu", clamp=1.2, prepared=PreparedWeight())
        outcomes.append((y.detach(), *torch.autograd.grad(y.square().sum(), leaves)))
    for others in outcomes[1:]:
        for first, other in zip(outcomes[0], others, strict=True):
            assert torch.equal(first, other)


@pytest.mark.parametrize("case", [(1, 8, 8, 37, 24, 1), (3, 8, 6, 40, 16, 2), (2, 4, 4, 64, 8, 2)], ids=str)
@pytest.mark.parametrize("fir", [(1, 3, 3, 1), (1, 2, 1), (1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1)], ids=len)
@pytest.mark.parametrize("noises", ["one", "each", "flat", "none"])
def test_bands_are_the_definition(case, fir, noises, monkeypatch):
    monkeypatch.setattr(bands, "VALUES", 8 * 24 * 8)
    monkeypatch.setattr(bands, "_WEIGHTS", 0.0)
    parts, up = drawn(*case, noises=case[0] if noises == "each" else 1, dtype=torch.float64), case[-1]
    if noises == "none":
        parts["noise"] = None
    if noises == "flat":
        parts["noise"] = torch.tensor(0.3, dtype=torch.float64).view(1, 1, 1, 1)
    assert bands.bands_suit(parts["x"], parts["weight"], up)
    options = {"up": up, "fir": setup_filter(fir).double(), "activation": "lrelu", "gain": 1.3, "clamp": 1.2}
    outcomes = []
    for path in ("reference", "bands"):
        with use_kernels(path), torch.no_grad():
            outcomes.append(modulated_conv2d(**parts, **options))
    assert (outcomes[0] - outcomes[1]).abs().max() < 1e-12
    assert outcomes[1].is_contiguous(memory_format=torch.channels_last)


def test_small_products_inside_of_bands_do_not_wait_for_one_another(monkeypatch):
    """A band's demodulation runs on one thread as well, in a thread that helps out."""
    monkeypatch.setattr(bands, "VALUES", 64)
    parts = drawn(4, 8, 8, 64, 16, 1)
    with use_kernels("bands"), torch.inference_mode():
        y = modulated_conv2d(**parts, prepared=PreparedWeight())
    with use_kernels("fast"), torch.inference_mode():
        assert (y - modulated_conv2d(**parts)).abs().max() < 1e-4


def test_bands_never_cut_a_gradient_off():
    parts = drawn(1, 8, 8, 512, 256, 1)
    parts["styles"].requires_grad_()
    with use_kernels("bands"):
        y = modulated_conv2d(**parts)
    assert y.requires_grad


def test_threads_that_find_a_core():
    assert spare_cores.spare_threads(2, 2, 0.0) == 2
    assert spare_cores.spare_threads(2, 2, 0.4) == 2
    assert spare_cores.spare_threads(2, 2, 1.0) == 1
    assert spare_cores.spare_threads(2, 2, 2.0) == 1
    assert spare_cores.spare_threads(8, 16, 4.0) == 8
    assert spare_cores.spare_threads(8, 16, 12.0) == 4


@pytest.fixture
def busy(monkeypatch):
    """A machine whose other programs take ``busy.cores``; every look is a second after the last."""

    class Machine:
        cores, now, work = 0.0, 0.0, 0.0

        def look(self, _now):
            self.now, self.work = self.now + 1, self.work + self.cores
            return self.now, self.work, 0.0

    machine = Machine()
    monkeypatch.setattr(spare_cores, "_look", machine.look)
    monkeypatch.setattr(spare_cores.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(spare_cores.time, "monotonic", lambda: machine.now + 1)
    monkeypatch.setattr(spare_cores._share, "seen", None)
    return machine


def test_threads_follow_what_other_programs_leave_and_come_back(busy):
    with sharing_cores():
        spare_cores.settle()
        spare_cores.settle()
        assert torch.get_num_threads() == 2
        busy.cores = 1.5
        spare_cores.settle()
        assert torch.get_num_threads() == 1 and spare_cores.allowed_threads() == 2
        with spare_cores.all_threads():
            assert torch.get_num_threads() == 2
        with sharing_cores():
            assert torch.get_num_threads() == 1
        busy.cores = 0.0
        spare_cores.settle()
        assert torch.get_num_threads() == 2
        busy.cores = 2.0
        spare_cores.settle()
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    spare_cores.settle()
    assert torch.get_num_threads() == 2, "outside, the host's number is left alone"


def test_the_number_of_threads_can_be_kept(busy, monkeypatch):
    monkeypatch.setenv("SEMANTIC_EDIT_THREADS", "fixed")
    busy.cores = 2.0
    with sharing_cores():
        for _ in range(3):
            spare_cores.settle()
        assert torch.get_num_threads() == 2


def test_an_error_inside_gives_the_threads_back(busy):
    busy.cores = 2.0
    with pytest.raises(KeyboardInterrupt), sharing_cores():
        spare_cores.settle()
        spare_cores.settle()
        assert torch.get_num_threads() == 1
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2
