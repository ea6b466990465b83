"""Compile every kernel for a GPU that need not be there; test_kernels_gpu.py runs this file in a process of its own.

The interpreter takes whatever Python takes; the compiler is stricter. Each variant is compiled down to PTX for compute
capability 8.0, in all types and with the constants that decide which lines are compiled.
"""

from __future__ import annotations

import itertools

import triton
import triton.language as tl
from semantic_edit.kernels.blend import triton_code as blend
from semantic_edit.kernels.epilogue import triton_code as epilogue
from semantic_edit.kernels.upfirdn2d import triton_code as upfirdn2d
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

POINTERS = {"y", "scale", "noise", "bias", "fir", "out", "grad", "y_grad", "scale_sums", "bias_sums", "noise_sums", "x",
            "add", "plain", "edited", "mask", "plain_grad", "edited_grad", "mask_grad"}  # fmt: skip
EXACT = {"scale", "noise", "bias", "fir", "scale_sums", "bias_sums", "noise_sums", "mask_grad"}


def compiled(kernel, dtype: str, ones: tuple[str, ...] = (), **constants: object) -> None:
    """``ones``: whole numbers that are 1 in this call, which the compiler then treats as constants."""
    constants = {**constants, **dict.fromkeys(ones, 1)}
    exact = "fp64" if dtype == "fp64" else "fp32"
    signature = {}
    for name in kernel.arg_names:
        if name in constants:
            signature[name] = "constexpr"
        elif name in POINTERS:
            signature[name] = f"*{exact if name in EXACT else dtype}"
        else:
            signature[name] = "i32"
    constants["ACC"] = tl.float64 if dtype == "fp64" else tl.float32
    signature["ACC"] = "constexpr"
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    found = triton.compile(source, target=GPUTarget("cuda", 80, 32))
    assert ".visible .entry" in found.asm["ptx"]


def main() -> None:
    plain = dict(INNER=1.4, OUTER=0.7, CLAMP=256.0, HAS_CLAMP=True, HAS_SCALE=True, HAS_NOISE=True, HAS_BIAS=True,
                 ACTIVATION="lrelu", FIR_H=0, FIR_W=0, BLOCK_C=1, BLOCK_P=1024)  # fmt: skip
    last = {**plain, "BLOCK_C": 64, "BLOCK_P": 16}
    filtered = {**plain, "FIR_H": 4, "FIR_W": 4, "ACTIVATION": "relu"}
    bare = {**plain, "HAS_CLAMP": False, "HAS_SCALE": False, "HAS_NOISE": False, "HAS_BIAS": False,
            "ACTIVATION": "linear", "INNER": 1.0, "OUTER": 1.0, "CLAMP": 0.0}  # fmt: skip
    wants = dict(WANT_Y=True, WANT_SCALE=True, WANT_BIAS=True, WANT_NOISE=True)
    few = dict(WANT_Y=True, WANT_SCALE=False, WANT_BIAS=False, WANT_NOISE=False)
    for dtype, (constants, ones) in [
        ("fp16", (plain, ("y_p", "out_p", "scale_c"))),
        ("fp16", (last, ("y_c", "out_c"))),
        ("bf16", (filtered, ("left", "top"))),
        ("fp32", (bare, ("channels", "width", "pixels"))),
        ("fp64", (filtered, ())),
    ]:
        compiled(epilogue.forward, dtype, ones, **constants)
        compiled(epilogue.backward, dtype, ones, **constants, **(few if constants is bare else wants))
    for dtype, (up, down) in zip(("fp16", "fp32", "fp64"), ((2, 1), (1, 2), (1, 1)), strict=True):
        compiled(upfirdn2d.upfirdn2d, dtype, ("x_p",), UP=up, DOWN=down, FIR_H=4, FIR_W=4, HAS_ADD=up == 2,
                 BLOCK_C=4, BLOCK_P=256)  # fmt: skip
    for dtype, channels in itertools.product(("fp16", "fp32"), (True, False)):
        compiled(blend.forward, dtype, BLOCK_C=2, BLOCK_P=512)
        compiled(blend.backward, dtype, WANT_PLAIN=True, WANT_EDITED=not channels, WANT_MASK=True,
                 MASK_HAS_CHANNELS=channels, BLOCK_C=2, BLOCK_P=512)  # fmt: skip


if __name__ == "__main__":
    main()
