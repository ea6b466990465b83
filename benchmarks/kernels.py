"""Every kernel's paths against each other on the shapes of real layers: forward, and forward with gradients.

reference is the definition (weights per sample, grouped convolution, zero insertion), fast shares the weights, tiled
takes a frozen layer through the cache strip by strip. "error" is the largest difference from float64, beside that of
the reference.

python benchmarks/kernels.py [--threads 1] [--repeats 5] [--batch 1]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _harness import interleaved, machine_facts, say, table
from semantic_edit.kernels import (
    PreparedWeight,
    bias_act,
    blend_features,
    modulated_conv2d,
    setup_filter,
    upfirdn2d,
    use_kernels,
)
from torch import Tensor

FIR = setup_filter((1, 3, 3, 1))
# (inputs, outputs, side of the input, up): the layers of a full-width 256 px generator, then narrow ones.
LAYERS = [
    (512, 512, 4, 1), (512, 512, 16, 1), (512, 512, 32, 1), (512, 512, 64, 1), (256, 256, 128, 1), (128, 128, 256, 1),
    (512, 512, 16, 2), (512, 512, 32, 2), (512, 256, 64, 2), (256, 128, 128, 2),
    (96, 96, 32, 1), (48, 48, 64, 1), (24, 24, 128, 1), (96, 48, 32, 2), (48, 24, 64, 2),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    say(f"{machine_facts()}; {options.threads} threads, batch {options.batch}, milliseconds (medians)\n")
    rows = [modulated(layer, options.batch, options.repeats) for layer in LAYERS]
    say(table(("modulated_conv2d", *PASSES, "error reference", "error fast", "error tiled"), rows) + "\n")
    rows = [simple(name, make, options.batch, options.repeats) for name, make in SIMPLE.items()]
    say(table(("others", *(f"{path} {what}" for what in ("forward", "gradient") for path in PATHS[:2])), rows))


PATHS = ("reference", "fast", "tiled")
PASSES = tuple(f"{path} {what}" for what in ("forward", "gradient") for path in PATHS)


def modulated(layer: tuple[int, int, int, int], batch: int, repeats: int) -> tuple:
    inputs, outputs, side, up = layer
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(batch, inputs, side, side, generator=rng).contiguous(memory_format=torch.channels_last)
    parts = {
        "x": x,
        "weight": torch.randn(outputs, inputs, 3, 3, generator=rng),
        "styles": torch.rand(batch, inputs, generator=rng) + 0.5,
        "noise": torch.randn(1, 1, up * side, up * side, generator=rng),
        "bias": torch.randn(outputs, generator=rng),
    }
    options = {"up": up, "activation": "lrelu", "gain": 2**0.5, "prepared": PreparedWeight()}

    def layer_of(parts: dict[str, Tensor]) -> Tensor:
        return modulated_conv2d(**parts, **options, fir=FIR.to(parts["x"].dtype))

    times = measure(PATHS, lambda: layer_of(parts), [parts["x"], parts["styles"]], repeats)
    with torch.no_grad():
        with use_kernels("reference"):
            exact = layer_of({name: tensor[:1].double() if name in ("x", "styles") else tensor.double()
                              for name, tensor in parts.items()})  # fmt: skip
        errors = []
        for path in PATHS:
            with use_kernels(path):
                errors.append(f"{float((layer_of(parts)[:1] - exact).abs().max()):.1e}")
    return (f"{inputs} to {outputs}, {side} px{', doubled' if up == 2 else ''}", *times, *errors)


def measure(paths: tuple[str, ...], run: Callable[[], Tensor], inputs: list[Tensor], repeats: int) -> list[str]:
    def forward(path: str) -> Callable[[], None]:
        def once() -> None:
            with use_kernels(path), torch.inference_mode():
                run()

        return once

    def gradient(path: str) -> Callable[[], None]:
        def once() -> None:
            with use_kernels(path):
                for tensor in inputs:
                    tensor.requires_grad_()
                y = run()
                torch.autograd.grad(y, inputs, y.detach())
                for tensor in inputs:
                    tensor.requires_grad_(False)

        return once

    cells = []
    for way in (forward, gradient):
        times = interleaved({path: way(path) for path in paths}, repeats)
        cells += [f"{1000 * times[path].median:.1f}" for path in paths]
    return cells


def _pictures(batch: int, channels: int, side: int) -> Tensor:
    return torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)


def _bias_act(batch: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
    x, bias = _pictures(batch, 128, 256), torch.randn(128)
    return lambda: bias_act(x, bias, "lrelu"), [x, bias]


def _resample(channels: int, side: int, up: int, down: int) -> Callable:
    def make(batch: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
        x = _pictures(batch, channels, side)
        return lambda: upfirdn2d(x, FIR, up, down, (2, 1, 2, 1)), [x]

    return make


def _blend(batch: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
    plain, edited, mask = _pictures(batch, 128, 256), _pictures(batch, 128, 256), torch.rand(1, 1, 256, 256)
    return lambda: blend_features(plain, edited, mask), [plain, edited]


SIMPLE = {
    "bias_act, lrelu, 128 channels, 256 px": _bias_act,
    "upfirdn2d, low-pass, 128 channels, 256 px": _resample(128, 256, 1, 1),
    "upfirdn2d, doubled, 3 channels, 128 px": _resample(3, 128, 2, 1),
    "upfirdn2d, doubled, 64 channels, 128 px": _resample(64, 128, 2, 1),
    "upfirdn2d, halved, 64 channels, 256 px": _resample(64, 256, 1, 2),
    "blend_features, 128 channels, 256 px": _blend,
}


def simple(name: str, make: Callable, batch: int, repeats: int) -> tuple:
    run, inputs = make(batch)
    return (name, *measure(PATHS[:2], run, inputs, repeats))


if __name__ == "__main__":
    main()
