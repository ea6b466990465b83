"""The kernels of the epilogue. Imports Triton: import this file only from a function, when a kernel is wanted.

Tensors are seen as [pictures, channels, pixels] with a stride each, so that one code serves contiguous and
channels-last memory; offsets are 64 bits wide. Everything is computed in float32 (float64 for float64) whatever the
tensors' type, so that half precision is rounded once.
"""

import triton
import triton.language as tl


@triton.jit
def _tile(program, channels, pixels, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr):
    """A program's picture, block numbers, channels [C] and pixels [P]; pixels advance fastest."""
    blocks_p = tl.cdiv(pixels, BLOCK_P)
    blocks_c = tl.cdiv(channels, BLOCK_C)
    block_p = program % blocks_p
    block_c = (program // blocks_p) % blocks_c
    picture = program // (blocks_p * blocks_c)
    c = block_c * BLOCK_C + tl.arange(0, BLOCK_C)
    p = block_p.to(tl.int64) * BLOCK_P + tl.arange(0, BLOCK_P)
    return picture.to(tl.int64), block_c, block_p, c.to(tl.int64), p


@triton.jit
def _read(
    y, fir, picture, c, p, live, width, in_height, in_width, left, top, stride_b, stride_c, stride_p,
    FIR_H: tl.constexpr, FIR_W: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """A tile [C, P] of y, or of y under the low-pass: a correlation with the (already flipped) taps."""
    base = y + picture * stride_b + c[:, None] * stride_c
    total = tl.zeros(live.shape, dtype=ACC)
    if FIR_H == 0:
        total += tl.load(base + p[None, :] * stride_p, mask=live, other=0.0).to(ACC)
    row = p // width - top
    column = p % width - left
    for i in tl.static_range(FIR_H):
        for j in tl.static_range(FIR_W):
            tap = tl.load(fir + i * FIR_W + j).to(ACC)
            inside = (row + i >= 0) & (row + i < in_height) & (column + j >= 0) & (column + j < in_width)
            pixel = (row + i) * in_width + column + j
            total += tap * tl.load(base + pixel[None, :] * stride_p, mask=live & inside[None, :], other=0.0).to(ACC)
    return total


@triton.jit
def _before_activation(
    value, scale, noise, bias, picture, c, p, channels, pixels, scale_b, scale_c, noise_b,
    INNER: tl.constexpr, HAS_SCALE: tl.constexpr, HAS_NOISE: tl.constexpr, HAS_BIAS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """(scale value + inner noise + inner bias, scale [C])."""
    factor = tl.full(c.shape, 1.0, dtype=ACC)
    if HAS_SCALE:
        factor = tl.load(scale + picture * scale_b + c * scale_c, mask=c < channels, other=0.0).to(ACC)
        value = value * factor[:, None]
    if HAS_BIAS:
        value += INNER * tl.load(bias + c, mask=c < channels, other=0.0).to(ACC)[:, None]
    if HAS_NOISE:
        value += INNER * tl.load(noise + picture * noise_b + p, mask=p < pixels, other=0.0).to(ACC)[None, :]
    return value, factor


@triton.jit
def _slope(z, ACTIVATION: tl.constexpr, ACC: tl.constexpr):
    """The activation's derivative, which times z is the activation itself."""
    slope = tl.full(z.shape, 1.0, dtype=ACC)
    if ACTIVATION == "lrelu":
        slope = tl.where(z > 0, slope, tl.full(z.shape, 0.2, dtype=ACC))
    if ACTIVATION == "relu":
        slope = tl.where(z > 0, slope, tl.zeros(z.shape, dtype=ACC))
    return slope


@triton.jit
def forward(
    y, scale, noise, bias, fir, out,
    channels, pixels, width, in_height, in_width, left, top,
    y_b, y_c, y_p, out_b, out_c, out_p, scale_b, scale_c, noise_b,
    INNER: tl.constexpr, OUTER: tl.constexpr, CLAMP: tl.constexpr, HAS_CLAMP: tl.constexpr,
    HAS_SCALE: tl.constexpr, HAS_NOISE: tl.constexpr, HAS_BIAS: tl.constexpr,
    FIR_H: tl.constexpr, FIR_W: tl.constexpr, ACTIVATION: tl.constexpr, ACC: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out = clamp(outer act(scale fir(y) + inner noise + inner bias))."""
    picture, _, _, c, p = _tile(tl.program_id(0), channels, pixels, BLOCK_C, BLOCK_P)
    live = (c < channels)[:, None] & (p < pixels)[None, :]
    value = _read(
        y, fir, picture, c, p, live, width, in_height, in_width, left, top, y_b, y_c, y_p, FIR_H, FIR_W, ACC
    )  # fmt: skip
    z, _ = _before_activation(
        value, scale, noise, bias, picture, c, p, channels, pixels, scale_b, scale_c, noise_b,
        INNER, HAS_SCALE, HAS_NOISE, HAS_BIAS, ACC,
    )  # fmt: skip
    result = z * _slope(z, ACTIVATION, ACC) * OUTER
    if HAS_CLAMP:  # not minimum and maximum, which may lose a NaN
        bound = tl.full(z.shape, CLAMP, dtype=ACC)
        result = tl.where(result > bound, bound, tl.where(result < -bound, -bound, result))
    address = out + picture * out_b + c[:, None] * out_c + p[None, :] * out_p
    tl.store(address, result.to(out.dtype.element_ty), mask=live)


@triton.jit
def backward(
    y, scale, noise, bias, fir, grad, y_grad, scale_sums, bias_sums, noise_sums,
    batch, channels, pixels, width, in_height, in_width, left, top,
    y_b, y_c, y_p, grad_b, grad_c, grad_p, out_b, out_c, out_p, scale_b, scale_c, noise_b,
    INNER: tl.constexpr, OUTER: tl.constexpr, CLAMP: tl.constexpr, HAS_CLAMP: tl.constexpr,
    HAS_SCALE: tl.constexpr, HAS_NOISE: tl.constexpr, HAS_BIAS: tl.constexpr,
    WANT_Y: tl.constexpr, WANT_SCALE: tl.constexpr, WANT_BIAS: tl.constexpr, WANT_NOISE: tl.constexpr,
    FIR_H: tl.constexpr, FIR_W: tl.constexpr, ACTIVATION: tl.constexpr, ACC: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Gradients of y (of the filtered y, where there is a low-pass), and each tile's share of the others.

    The forward pass is made again from y. Sums over tiles are left to the caller, so that no order depends on chance:
    scale_sums and bias_sums are [tiles of pixels, B, C], noise_sums [tiles of channels, B, P].
    """
    picture, block_c, block_p, c, p = _tile(tl.program_id(0), channels, pixels, BLOCK_C, BLOCK_P)
    live = (c < channels)[:, None] & (p < pixels)[None, :]
    value = _read(
        y, fir, picture, c, p, live, width, in_height, in_width, left, top, y_b, y_c, y_p, FIR_H, FIR_W, ACC
    )  # fmt: skip
    z, factor = _before_activation(
        value, scale, noise, bias, picture, c, p, channels, pixels, scale_b, scale_c, noise_b,
        INNER, HAS_SCALE, HAS_NOISE, HAS_BIAS, ACC,
    )  # fmt: skip
    slope = _slope(z, ACTIVATION, ACC) * OUTER
    address = grad + picture * grad_b + c[:, None] * grad_c + p[None, :] * grad_p
    dz = tl.load(address, mask=live, other=0.0).to(ACC) * slope
    if HAS_CLAMP:
        result = z * slope
        dz = tl.where((result > CLAMP) | (result < -CLAMP), 0.0, dz)
    if WANT_Y:
        address = y_grad + picture * out_b + c[:, None] * out_c + p[None, :] * out_p
        tl.store(address, (dz * factor[:, None]).to(y_grad.dtype.element_ty), mask=live)
    row = (block_p.to(tl.int64) * batch + picture) * channels
    if WANT_SCALE:
        tl.store(scale_sums + row + c, tl.sum(dz * value, axis=1), mask=c < channels)
    if WANT_BIAS:
        tl.store(bias_sums + row + c, tl.sum(dz, axis=1) * INNER, mask=c < channels)
    if WANT_NOISE:
        row = (block_c.to(tl.int64) * batch + picture) * pixels
        tl.store(noise_sums + row + p, tl.sum(dz, axis=0) * INNER, mask=p < pixels)
