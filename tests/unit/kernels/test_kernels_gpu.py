"""When Triton kernels run, and that they are right (in Triton's interpreter, where there is no GPU)."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from semantic_edit.kernels import blend_features, gpu, modulated_conv2d, setup_filter, upfirdn2d, use_kernels
from semantic_edit.kernels.upfirdn2d import gpu as upfirdn2d_gpu

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(gpu, "_problem", [])
    monkeypatch.setattr(gpu, "_faster", {})


@needs_triton
def test_kernels_in_tritons_interpreter():
    checks = Path(__file__).with_name("interpreted_kernels.py")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--import-mode=importlib", "-n0"]
    command = command if importlib.util.find_spec("xdist") else command[:-1]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run([*command, str(checks)], env=environment, cwd=checks.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


@needs_triton
def test_kernels_compile_for_a_gpu_that_need_not_be_there(tmp_path):
    """Down to PTX: the interpreter takes more than the compiler does."""
    code = Path(__file__).with_name("compiled_kernels.py")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run([sys.executable, str(code)], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]


def test_importing_the_pack_does_not_import_triton():
    code = (
        "import sys, torch; before = 'triton' in sys.modules\n"
        "import semantic_edit.models, semantic_edit.editing\n"
        "from semantic_edit.kernels.epilogue import finish_gpu\n"
        "assert before or 'triton' not in sys.modules\n"
        "assert not [m for m in sys.modules if m.endswith('triton_code')]"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_on_the_cpu_no_kernel_is_tried(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    x = torch.randn(1, 2, 4, 4)
    assert not gpu.usable(x)
    with use_kernels("gpu"):
        assert not gpu.usable(x)
        y = upfirdn2d(x, torch.ones(1, 1))
    assert torch.equal(x, y) and gpu.problem() is None


@needs_triton
def test_where_triton_cannot_start_torch_takes_over_with_one_line(monkeypatch, caplog):
    """Here no driver is found: what a first launch raises on a machine whose Triton cannot start."""
    if torch.cuda.is_available():
        pytest.skip("Triton can start here")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(gpu, "usable", lambda *tensors: gpu.problem() is None)
    x, styles = torch.randn(2, 8, 6, 6), torch.ones(2, 8)
    given = (x, torch.randn(4, 8, 3, 3), styles)
    with use_kernels("fast"):
        expected = modulated_conv2d(*given, up=2, fir=setup_filter((1, 3, 3, 1)), activation="lrelu")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            y = modulated_conv2d(*given, up=2, fir=setup_filter((1, 3, 3, 1)), activation="lrelu")
            assert torch.equal(y, expected)
            assert torch.equal(blend_features(x, x + 1, torch.ones(1, 1, 6, 6)), x + 1)
    assert len([r for r in caplog.records if "Triton" in r.message]) == 1
    assert gpu.problem()


def test_a_kernel_that_fails_later_is_replaced_too(caplog):
    def broken():
        raise RuntimeError("ptxas: no such file\nmore")

    with caplog.at_level(logging.WARNING):
        assert gpu.attempt(lambda: "kernel", lambda: "torch") == "kernel"
        assert gpu.attempt(broken, lambda: "torch") == "torch"
        assert gpu.attempt(lambda: pytest.fail("tried again"), lambda: "torch") == "torch"
        gpu.refuse(RuntimeError("again"))
    assert gpu.problem() == "RuntimeError: ptxas: no such file"
    assert [r.message for r in caplog.records] == [
        "Triton kernels cannot be used here (RuntimeError: ptxas: no such file); torch's own operations do the work."
    ]


def test_a_backward_pass_that_cannot_start_is_done_by_torch(monkeypatch):
    """The forward pass has run; its gradient must still come, and be right."""
    from semantic_edit.kernels.blend.gpu import _Blend, blend_fast
    from semantic_edit.kernels.epilogue import Finish, finish_fast
    from semantic_edit.kernels.epilogue.gpu import _Finish

    class Context:
        needs_input_grad = (True,) * 7

    def backward(function, saved, grad):
        context = Context()
        context.saved_tensors, context.finish, context.size = saved, Finish("lrelu", 1.2, 1.0, 1.0), (4, 4)
        with torch.no_grad():
            return function.backward(context, grad)

    monkeypatch.setitem(sys.modules, "triton", None)
    grad = torch.randn(2, 3, 4, 4)
    inputs = [torch.randn(2, 3, 4, 4), torch.rand(2, 3), torch.randn(1, 1, 4, 4), torch.randn(3)]
    got = backward(_Finish, (*inputs, None), grad)
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = finish_fast(leaves[0] * 1, *leaves[1:], None, Finish("lrelu", 1.2, 1.0, 1.0))
    for a, b in zip(got, torch.autograd.grad(y, leaves, grad), strict=False):
        assert torch.allclose(a, b, atol=1e-6)
    inputs = [torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.rand(1, 1, 4, 4)]
    got = backward(_Blend, inputs, grad)
    leaves = [x.clone().requires_grad_() for x in inputs]
    for a, b in zip(got, torch.autograd.grad(blend_fast(*leaves), leaves, grad), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert gpu.problem()


def test_running_out_of_memory_is_not_hidden():
    def full():
        raise torch.cuda.OutOfMemoryError("full")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        gpu.attempt(full, lambda: "torch")
    assert gpu.problem() is None


def test_the_faster_way_is_measured_once_for_a_class_of_shapes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    runs = []

    def slow(x):
        runs.append("slow")
        for k in range(200):
            x = x * (2.0 if k % 2 == 0 else 0.5)
        return x * 2

    def quick(x):
        runs.append("quick")
        return x * 2

    x = torch.randn(2, 3, 64, 64, requires_grad=True)
    for gradient in (False, True):
        key = gpu.shape_class("example", x, gradient)
        assert gpu.faster(key, quick, slow, (x,), gradient)
        assert {"slow", "quick"} == set(runs)
        runs.clear()
        assert gpu.faster(key, quick, slow, (x,), gradient) and not runs
        assert not gpu.faster((*key, "turned"), slow, quick, (x,), gradient)
        runs.clear()
    assert len(gpu.verdicts()) == 4 and x.grad is None


def wrong_values(x):
    return x * 2.001


def wrong_gradient(x):
    return (x * 2).detach() + (x - x.detach())


def not_a_number(x):
    return torch.where(x == x.max(), torch.nan, x * 2)


def another_shape(x):
    return (x * 2)[:, :, 1:]


@pytest.mark.parametrize("kernel", [wrong_values, wrong_gradient, not_a_number, another_shape])
def test_a_kernel_that_computes_something_else_is_never_used(kernel, monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    key = gpu.shape_class("example", x, True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert not gpu.faster(key, kernel, lambda x: x * 2, (x,), True)
    assert "the kernel of example differs from torch's result" in gpu.problem()
    assert len(caplog.records) == 1 and gpu.verdicts() == {}
    assert not gpu.usable(x.cuda() if torch.cuda.is_available() else x)


def test_a_kernel_that_rounds_otherwise_is_trusted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    for dtype, step in ((torch.float32, 1e-6), (torch.float16, 1e-3), (torch.bfloat16, 1e-2)):
        x = torch.linspace(-3, 3, 64).view(1, 1, 8, 8).to(dtype)
        gpu.faster(gpu.shape_class("example", x, False), lambda x, s=step: x * (2 + s), lambda x: x * 2, (x,), False)
        assert gpu.problem() is None


def test_timing_without_room_or_while_a_graph_is_recorded_keeps_nothing(monkeypatch):
    def full(x):
        raise torch.cuda.OutOfMemoryError("full")

    x = torch.randn(1, 1, 2, 2)
    key = gpu.shape_class("example", x, False)
    assert not gpu.faster(key, full, full, (x,), False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert not gpu.faster(key, lambda x: pytest.fail("ran"), lambda x: pytest.fail("ran"), (x,), False)
    assert gpu.verdicts() == {} and gpu.problem() is None


def test_the_measured_verdict_decides(monkeypatch):
    x = torch.randn(1, 2, 4, 4)
    monkeypatch.setattr(gpu, "faster", lambda *rest: False)
    monkeypatch.setattr(upfirdn2d_gpu, "run_kernel", lambda *rest: pytest.fail("the slower way"))
    y = upfirdn2d_gpu.upfirdn2d_gpu(x, torch.ones(1, 1), 1, 1, (0, 0, 0, 0), 1.0)
    assert torch.equal(y, x)


def test_no_triton_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert not gpu._installed()
        assert not gpu._installed()
    assert len(caplog.records) == 1 and "triton is not installed" in caplog.text


def test_tiles_hold_powers_of_two_that_fit():
    for shape in [(1, 1, 1, 1), (2, 3, 5, 7), (1, 512, 4, 4), (1, 33, 300, 300)]:
        for x in (torch.empty(shape), torch.empty(shape).contiguous(memory_format=torch.channels_last)):
            across, along = gpu.blocks(x)
            assert across * along <= 1024 and across & (across - 1) == 0 and along & (along - 1) == 0
