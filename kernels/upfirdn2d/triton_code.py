"""The kernel of upfirdn2d. Imports Triton: import this file only from a function, when a kernel is wanted.

Every output pixel reads only the taps that meet real samples, so nothing is multiplied by an inserted zero; the
backward pass is the same kernel with ``up`` and ``down`` exchanged.
"""

import triton
import triton.language as tl


@triton.jit
def upfirdn2d(
    x, fir, add, out,
    channels, pixels, width, in_height, in_width, left, top,
    x_b, x_c, x_p, add_b, add_c, add_p, out_b, out_c, out_p,
    UP: tl.constexpr, DOWN: tl.constexpr, FIR_H: tl.constexpr, FIR_W: tl.constexpr, HAS_ADD: tl.constexpr,
    ACC: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out = add + every DOWN-th of (x with UP - 1 zeros between samples, padded, correlated with fir)."""
    blocks_p = tl.cdiv(pixels, BLOCK_P)
    blocks_c = tl.cdiv(channels, BLOCK_C)
    program = tl.program_id(0)
    picture = (program // (blocks_p * blocks_c)).to(tl.int64)
    c = (((program // blocks_p) % blocks_c) * BLOCK_C + tl.arange(0, BLOCK_C)).to(tl.int64)
    p = (program % blocks_p).to(tl.int64) * BLOCK_P + tl.arange(0, BLOCK_P)
    live = (c < channels)[:, None] & (p < pixels)[None, :]
    base = x + picture * x_b + c[:, None] * x_c

    # Where tap 0 lies among the upsampled rows, and the first tap that meets a sample there.
    row = (p // width) * DOWN - top
    column = (p % width) * DOWN - left
    tap_y = (UP - row % UP) % UP
    tap_x = (UP - column % UP) % UP
    total = tl.zeros((BLOCK_C, BLOCK_P), dtype=ACC)
    for i in tl.static_range((FIR_H + UP - 1) // UP):
        ky = tap_y + i * UP
        y = (row + ky) // UP  # exact
        for j in tl.static_range((FIR_W + UP - 1) // UP):
            kx = tap_x + j * UP
            x_in = (column + kx) // UP
            tap = tl.load(fir + ky * FIR_W + kx, mask=(ky < FIR_H) & (kx < FIR_W), other=0.0).to(ACC)
            inside = (y >= 0) & (y < in_height) & (x_in >= 0) & (x_in < in_width)
            address = base + (y * in_width + x_in)[None, :] * x_p
            total += tap[None, :] * tl.load(address, mask=live & inside[None, :], other=0.0).to(ACC)
    if HAS_ADD:
        total += tl.load(add + picture * add_b + c[:, None] * add_c + p[None, :] * add_p, mask=live, other=0.0).to(ACC)
    address = out + picture * out_b + c[:, None] * out_c + p[None, :] * out_p
    tl.store(address, total.to(out.dtype.element_ty), mask=live)
