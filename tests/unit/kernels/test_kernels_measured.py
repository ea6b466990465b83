"""The choice of paths on the CPU: timed once, remembered, the same in every process, and pinned on request."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from semantic_edit.kernels import PreparedWeight, choices, measured, modulated_conv2d, remembered, use_kernels
from semantic_edit.kernels.modulated_conv import choice


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setenv(remembered.ENVIRONMENT, str(tmp_path / "choices"))
    monkeypatch.delenv("SEMANTIC_EDIT_KERNELS", raising=False)
    monkeypatch.setattr(measured, "_choices", {})
    monkeypatch.setattr(measured, "_refused", [])


class Clock:
    """A clock that only what is timed moves."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(measured, "time", Clock())


def runs(log, **seconds):
    def one(name, pause):
        def run():
            log.append(name)
            measured.time.now += pause

        return run

    return lambda: {name: one(name, pause) for name, pause in seconds.items()}


def decide(make_runs, usual="fast", key=("layer", 1), make_whole=None):
    return measured.measured_path(key, ("fast", "tiled", "bands"), usual, make_runs, make_whole)


def test_the_fastest_is_taken_and_timed_once():
    log = []
    make = runs(log, fast=0.01, tiled=0.002, bands=0.02)
    assert decide(make) == "tiled"
    count = len(log)
    assert decide(make) == "tiled" and len(log) == count
    assert choices() == {"layer 1": "tiled"}


def test_the_rule_stands_within_a_clocks_error():
    assert decide(runs([], fast=0.0200, tiled=0.0197, bands=0.03)) == "fast"


def test_what_is_near_the_best_is_timed_on_the_whole_layer():
    """A part fits a cache that the layer does not: on a Xeon strips were 5 % behind there, and 6 % ahead in all."""
    part, whole = [], []
    chosen = decide(
        runs(part, fast=0.040, tiled=0.042, bands=0.09), make_whole=runs(whole, fast=0.9, tiled=0.7, bands=0.1)
    )
    assert chosen == "tiled" and set(whole) == {"fast", "tiled"} and len(whole) == 2, "clear after one round"
    whole.clear()
    near = runs(part, fast=0.04, tiled=0.04, bands=0.04)
    chosen = decide(near, key=("layer", 2), make_whole=runs(whole, fast=0.70, tiled=0.69, bands=0.71))
    assert chosen == "fast" and whole.count("tiled") == 3, "within a clock's error the rule stands"


def test_what_is_clear_is_not_timed_again():
    make_whole = lambda: pytest.fail("the whole layer was timed")  # noqa: E731
    assert decide(runs([], fast=0.01, tiled=0.002, bands=0.02), make_whole=make_whole) == "tiled"


def test_timing_ends_soon_and_leaves_out_what_is_far_behind():
    log = []
    decide(runs(log, fast=0.02, tiled=0.1, bands=0.021))
    assert log.count("tiled") == 2  # the first run and one round
    assert len(log) <= 8


def test_another_process_finds_the_same_whatever_it_would_measure(monkeypatch):
    assert decide(runs([], fast=0.005, tiled=0.001, bands=0.005)) == "tiled"
    monkeypatch.setattr(measured, "_choices", {})
    assert decide(lambda: pytest.fail("timed again")) == "tiled"
    code = "from semantic_edit.kernels import remembered; print(remembered.choices_file())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == str(remembered.choices_file()), run.stderr


def test_who_is_first_to_write_decides_for_all(tmp_path):
    path = tmp_path / "choices.txt"
    names = ["fast", "tiled", "bands"] * 20

    def write(number):
        remembered.remember(path, f"own {number}", names[number])
        return remembered.remember(path, "shared", names[number])["shared"]

    with ThreadPoolExecutor(8) as pool:
        outcomes = set(pool.map(write, range(60)))
    assert len(outcomes) == 1
    assert len(remembered.recall(path)) == 61


def test_a_measurement_that_came_second_follows_the_first(monkeypatch):
    def make():
        remembered.remember(remembered.choices_file(), "layer 1", "bands")  # another process, meanwhile
        return runs([], fast=0.003, tiled=0.001, bands=0.003)()

    assert decide(make) == "bands"


@pytest.mark.parametrize(
    "text", ["", "\0" * 99, "tiled", "tiled\tlayer", "x\tlayer 1\n", "\ttiled\tlayer 1\n", "tïled\tlayer 1\n"]
)
def test_a_strange_file_is_read_as_far_as_it_goes(text):
    path = remembered.choices_file()
    path.parent.mkdir()
    path.write_bytes(text.encode())
    assert decide(runs([], fast=0.004, tiled=0.001, bands=0.004)) in ("tiled", "fast")
    measured._choices.clear()
    assert decide(lambda: pytest.fail("timed again")) in ("tiled", "fast")


def test_nothing_is_timed_where_nothing_can_be_kept(monkeypatch, tmp_path):
    timed = lambda: pytest.fail("timed")  # noqa: E731
    monkeypatch.setenv(remembered.ENVIRONMENT, "off")
    assert decide(timed, usual="tiled") == "tiled"
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv(remembered.ENVIRONMENT, str(blocked))
    log = []
    assert decide(runs(log, fast=0.003, tiled=0.001, bands=0.003), key=("other",)) == "fast"
    assert decide(timed, key=("third",)) == "fast"


def test_a_full_file_takes_no_more(tmp_path):
    path = tmp_path / "choices.txt"
    path.write_bytes(b"#" * (remembered._LARGEST - 100))
    with pytest.raises(OSError, match="full"):
        remembered.remember(path, "layer", "fast")


def test_threads_of_a_process_time_a_class_once():
    log, barrier = [], threading.Barrier(4)

    def one(_):
        barrier.wait()
        return decide(runs(log, fast=0.002, tiled=0.001, bands=0.004))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(one, range(4)))) == 1
    assert log.count("bands") == 2


def layer(batch=1, side=32, channels=64, gradient=False):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, side, side, generator=rng).contiguous(memory_format=torch.channels_last)
    weight, styles = torch.randn(channels, channels, 3, 3, generator=rng), torch.ones(batch, channels)
    styles.requires_grad_(gradient)
    prepared = PreparedWeight()
    return modulated_conv2d(x, weight, styles, activation="lrelu", prepared=prepared), prepared, styles


def test_a_layer_is_measured_for_its_class_and_computed_by_what_won(monkeypatch):
    taken = []

    def quickest(name, usual, runs, make_whole):
        for run in runs.values():
            run()
        taken.append((usual, set(runs)))
        return "tiled"

    monkeypatch.setattr(measured, "_quickest", quickest)
    y, prepared, _ = layer()
    assert taken == [("fast", {"fast", "tiled"})] and "winograd" in prepared._entry.values
    with use_kernels("tiled"):
        assert torch.equal(y, layer()[0])
    with use_kernels("fast"):
        assert not torch.equal(y, layer()[0])
    assert len(taken) == 1
    layer()
    assert len(taken) == 1
    for other in ({"gradient": True}, {"batch": 4}, {"channels": 96}, {"side": 64}):
        layer(**other)
    assert len(taken) == 5
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        layer()
    finally:
        torch.set_num_threads(threads)
    assert len(taken) == 6


def test_what_was_tried_and_lost_leaves_no_memory(monkeypatch):
    def quickest(name, usual, runs, make_whole):
        for run in runs.values():
            run()
        return "fast"

    monkeypatch.setattr(measured, "_quickest", quickest)
    prepared = layer()[1]
    assert set(prepared._entry.values) <= {"energy"}


def test_gradients_flow_through_a_measured_layer(monkeypatch):
    monkeypatch.setattr(measured, "time", time)
    y, _, styles = layer(gradient=True)
    y.sum().backward()
    assert styles.grad.isfinite().all() and list(choices())


def test_timing_takes_a_part_of_a_large_layer_and_no_global_random_numbers(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        measured, "_quickest", lambda name, usual, runs, make_whole: [run() for run in runs.values()] and usual
    )
    original = choice._part
    monkeypatch.setattr(choice, "_part", lambda *given: sizes.append(original(*given)) or sizes[-1])
    state = torch.get_rng_state()
    x = torch.ones(1, 16, 512, 512).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        modulated_conv2d(x, torch.ones(16, 16, 3, 3), torch.ones(1, 16), prepared=PreparedWeight())
    assert sizes and sizes[0][0] * sizes[0][1] <= 512 // 2
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("path", ["rule", "fast", "tiled", "bands", "reference"])
def test_a_pinned_path_times_nothing(path, monkeypatch):
    monkeypatch.setattr(measured, "_quickest", lambda *given: pytest.fail("timed"))
    monkeypatch.setenv("SEMANTIC_EDIT_KERNELS", path)
    layer()
    assert not remembered.choices_file().exists() and choices() == {}


def test_small_layers_follow_the_rule():
    layer(side=8, channels=16)
    assert choices() == {} and not remembered.choices_file().exists()
