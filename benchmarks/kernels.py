"""Each kernel's fast path beside its plain reference, in turns: upfirdn2d, bias_act, modulated_conv2d, blend_features.

    python benchmarks/kernels.py [--threads 1] [--repeats 7]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _harness import interleaved, machine_facts, ratio, say
from semantic_edit.kernels import (
    bias_act,
    blend_features,
    modulated_conv2d,
    setup_filter,
    upfirdn2d,
    upsample2d,
    use_kernels,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    say(f"{machine_facts()}; {options.threads} threads")
    with torch.inference_mode():
        for name, run in jobs().items():
            times = interleaved({path: on(path, run) for path in ("reference", "fast")}, options.repeats)
            found = ratio(times["reference"], times["fast"])
            say(f"{name:34} {times['reference'].median * 1e3:8.2f} ms {times['fast'].median * 1e3:8.2f} ms  {found}x")


def on(path: str, run: Callable[[], object]) -> Callable[[], object]:
    def measured() -> None:
        with use_kernels(path):
            run()

    return measured


def jobs() -> dict[str, Callable[[], object]]:
    """Sizes of a 256 px generator at 64 px, batch 4, in the layout that the synthesis uses."""
    rng = torch.Generator().manual_seed(0)

    def random(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=rng)

    fir = setup_filter([1, 3, 3, 1])
    x = random(4, 128, 64, 64).contiguous(memory_format=torch.channels_last)
    other, mask = torch.randn_like(x), torch.rand(4, 1, 64, 64, generator=rng)
    bias, styles = random(128), random(4, 128)
    weight, image = random(128, 128, 3, 3), random(4, 3, 64, 64)
    finish = dict(noise=random(1, 1, 64, 64), bias=bias, activation="lrelu", gain=2**0.5)
    finish_up = {**finish, "noise": random(1, 1, 128, 128)}
    return {
        "upfirdn2d, low-pass": lambda: upfirdn2d(x, fir, padding=(2, 1, 2, 1)),
        "upfirdn2d, down by 2": lambda: upfirdn2d(x, fir, down=2, padding=(1, 1, 1, 1)),
        "upfirdn2d, picture up by 2": lambda: upsample2d(image, fir),
        "bias_act, lrelu": lambda: bias_act(x, bias, "lrelu", clamp=256.0),
        "modulated_conv2d": lambda: modulated_conv2d(x, weight, styles, **finish),
        "modulated_conv2d, up by 2": lambda: modulated_conv2d(x, weight, styles, up=2, fir=fir, **finish_up),
        "blend_features": lambda: blend_features(x, other, mask),
    }


if __name__ == "__main__":
    main()
