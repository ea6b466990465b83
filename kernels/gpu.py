"""Guards of the Triton kernels: one runs where it can start, and is faster for the shape at hand.

Triton is looked for at the first CUDA tensor, never when this package is imported, and is no requirement. Whatever
goes wrong when a kernel is compiled or launched (no Triton, no C compiler, a card too old) ends the use of all kernels
for this process with one line in the log, and torch's own operations do the work. Before a kernel is used for a class
of shapes, both ways run once on the tensors at hand and their results are compared, gradients included: a kernel that
computes something else ends the use of all in the same way. Then both are timed, launches included (a few milliseconds
and the compilation); the verdict is kept for the process. Results agree to rounding, not to the bit.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor

from .select import chosen_path

log = logging.getLogger(__name__)
Result = TypeVar("Result")

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_RUNS, _ROUNDS = 5, 3
_MARGIN = 0.97  # a kernel must win by more than timing errors
# How far results may be apart, in units of the largest value of torch's: sums are taken in another order.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 8e-2}
_problem: list[str] = []
_faster: dict[Hashable, bool] = {}


def usable(*tensors: Tensor | None) -> bool:
    """Return True where kernels may be tried: CUDA tensors of a floating type, Triton installed, no failure so far.

    With the path "gpu" named explicitly, Triton's interpreter (TRITON_INTERPRET=1) is accepted for tensors on the CPU.
    """
    present = [tensor for tensor in tensors if tensor is not None]
    if not all(tensor.is_cuda for tensor in present) and not (chosen_path() == "gpu" and interpreted()):
        return False
    if any(tensor.dtype not in _DTYPES or tensor.numel() == 0 for tensor in present):
        return False
    return not _problem and not torch.compiler.is_compiling() and _installed()


def interpreted() -> bool:
    """Return True where Triton was told to run its kernels in Python: for tests, far too slow for anything else."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def problem() -> str | None:
    """Return the reason why kernels are not used any more, once one has failed; None before."""
    return _problem[0] if _problem else None


def attempt(kernel: Callable[[], Result], fallback: Callable[[], Result]) -> Result:
    """Run ``kernel``, or ``fallback`` when kernels do not work here; asked for by name ("gpu"), an error is raised."""
    if _problem:
        return fallback()
    try:
        return kernel()
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a compiler, a driver or a library of another version may raise
        if chosen_path() == "gpu":
            raise
        refuse(error)
        return fallback()


def refuse(error: Exception) -> None:
    """Use no kernel from now on, and say so once."""
    if not _problem:
        reason = (str(error).strip() or repr(error)).splitlines()[0][:300]
        _problem.append(f"{type(error).__name__}: {reason}")
        log.warning("Triton kernels cannot be used here (%s); torch's own operations do the work.", _problem[0])


def shape_class(name: str, x: Tensor, gradient: bool, *more: Hashable) -> tuple[Hashable, ...]:
    """Return a verdict's key: operation, device, type, layout, channels, size to the next power of two, gradient."""
    last = x.ndim == 4 and x.stride(1) == 1
    return (name, x.device, x.dtype, last, x.shape[1], x.numel().bit_length(), gradient, *more)


def faster(
    key: tuple[Hashable, ...],  # of shape_class
    kernel: Callable[..., Tensor],
    fallback: Callable[..., Tensor],
    inputs: tuple[Tensor | None, ...],  # what both are called with
    gradient: bool,
) -> bool:
    """Return True where ``kernel`` beats ``fallback``, measured when a class of shapes is first met, or was asked for.

    Before it is timed its result is compared: a wrong one ends the use of all kernels.
    While a CUDA graph is recorded nothing can be timed: torch's operations are taken then, and nothing is kept.
    """
    if chosen_path() == "gpu":
        return True
    known = _faster.get(key)
    if known is not None:
        return known
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        return False
    try:
        if difference := _disagreement(kernel, fallback, inputs, gradient):
            refuse(RuntimeError(f"the kernel of {key[0]} differs from torch's result, {difference}"))
            return False
        kernel_seconds, fallback_seconds = (
            _seconds(_repeatable(run, inputs, gradient), key[1]) for run in (kernel, fallback)
        )
    except torch.cuda.OutOfMemoryError:
        return False  # no room for timing now; perhaps later
    except Exception as error:  # the first launch is where a missing compiler shows
        refuse(error)
        return False
    _faster[key] = kernel_seconds < _MARGIN * fallback_seconds
    log.debug("%s: kernel %.3f ms, torch %.3f ms", key, 1000 * kernel_seconds, 1000 * fallback_seconds)
    return _faster[key]


def verdicts() -> dict[Hashable, bool]:
    """Return what has been measured so far: class of shapes -> True where the kernel is used."""
    return dict(_faster)


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Return True where autograd will ask for the backward pass."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def dense(x: Tensor) -> Tensor:
    """Return x [B, C, H, W] with each picture contiguous or channels-last, at any distance from one another."""
    _, channels, height, width = x.shape
    if x.stride()[1:] in ((height * width, width, 1), (1, width * channels, channels)):
        return x
    last = x.is_contiguous(memory_format=torch.channels_last)
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def empty_like(x: Tensor, height: int, width: int) -> Tensor:
    """Return an unset tensor of the layout of the dense ``x``, [B, C, height, width]."""
    layout = torch.channels_last if channels_last(x) else torch.contiguous_format
    return torch.empty((*x.shape[:2], height, width), dtype=x.dtype, device=x.device, memory_format=layout)


def channels_last(x: Tensor) -> bool:
    """Return True where neighbours in memory are channels; a tensor that is both counts as contiguous."""
    return x.stride(1) == 1 and x.shape[1] > 1 and x.shape[2] * x.shape[3] > 1


def strides(x: Tensor) -> tuple[int, int, int]:
    """Return a dense [B, C, H, W]'s strides from picture to picture, channel to channel, pixel to pixel."""
    step = x.shape[1] if channels_last(x) else 1
    return x.stride(0), 1 if channels_last(x) else x.shape[2] * x.shape[3], step


def blocks(x: Tensor, values: int = 1024) -> tuple[int, int]:
    """Return (channels, pixels) of one program's tile, powers of two, ``values`` together at most."""
    pixels, channels = x.shape[2] * x.shape[3], x.shape[1]
    if channels_last(x):
        tile_channels = min(_next_power(channels), 64)
        return tile_channels, min(_next_power(pixels), values // tile_channels)
    tile_pixels = min(_next_power(pixels), values)
    return min(_next_power(channels), max(1, values // tile_pixels)), tile_pixels


def _next_power(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _installed() -> bool:
    if importlib.util.find_spec("triton") is not None:
        return True
    refuse(ImportError("the package triton is not installed"))
    return False


def _disagreement(
    kernel: Callable[..., Tensor], fallback: Callable[..., Tensor], inputs: tuple[Tensor | None, ...], gradient: bool
) -> str:
    """Say how the results of both ways differ on ``inputs``, gradients included; "" where they agree."""
    names = ("values", *(f"gradient {k}" for k in range(len(inputs))))
    computed, expected = (_repeatable(run, inputs, gradient)() for run in (kernel, fallback))
    for name, mine, theirs in zip(names, computed, expected, strict=False):
        if mine.shape != theirs.shape:
            return f"{name} of shape {tuple(mine.shape)} instead of {tuple(theirs.shape)}"
        # Infinities and undefined values have to stand in the same places.
        finite = theirs.isfinite()
        if not torch.equal(finite, mine.isfinite()):
            return f"{name} that are not finite stand elsewhere"
        exact = torch.promote_types(theirs.dtype, torch.float32)
        mine, theirs = (torch.where(finite, tensor, 0).to(exact) for tensor in (mine, theirs))
        apart, largest = float((mine - theirs).abs().max()), float(theirs.abs().max())
        if apart > _TOLERANCE[expected[0].dtype] * max(largest, 1e-3):
            return f"{name} by {apart:.2g} of {largest:.2g}"
    return ""


def _repeatable(
    run: Callable[..., Tensor], inputs: tuple[Tensor | None, ...], gradient: bool
) -> Callable[[], tuple[Tensor, ...]]:
    """Return a whole pass over copies of ``inputs``: its result, and the gradients of those that ask for one."""
    with torch.inference_mode(False):
        copies = [
            None if x is None else x.detach().clone().requires_grad_(gradient and x.requires_grad) for x in inputs
        ]

    def once() -> tuple[Tensor, ...]:
        with torch.inference_mode(False), torch.set_grad_enabled(gradient):
            # An operation may work in place on what it is given, as on the result of a convolution.
            y = run(*(None if x is None else x * 1 if x.requires_grad else x.clone() for x in copies))
            if not gradient:
                return (y,)
            leaves = [x for x in copies if x is not None and x.requires_grad]
            return (y.detach(), *torch.autograd.grad(y, leaves, y.detach()))

    return once


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time a run, best of a few rounds."""
    run()
    best = float("inf")
    for _ in range(_ROUNDS):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        for _ in range(_RUNS):
            run()
        torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best / _RUNS
