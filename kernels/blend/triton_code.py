"""The kernels of the blend. Imports Triton: import this file only from a function, when a kernel is wanted."""

import triton
import triton.language as tl


@triton.jit
def _tile(program, channels, pixels, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr):
    """A program's picture, block of channels, channels [C] and pixels [P]; pixels advance fastest."""
    blocks_p = tl.cdiv(pixels, BLOCK_P)
    blocks_c = tl.cdiv(channels, BLOCK_C)
    block_c = (program // blocks_p) % blocks_c
    picture = (program // (blocks_p * blocks_c)).to(tl.int64)
    c = (block_c * BLOCK_C + tl.arange(0, BLOCK_C)).to(tl.int64)
    p = (program % blocks_p).to(tl.int64) * BLOCK_P + tl.arange(0, BLOCK_P)
    return picture, block_c, c, p


@triton.jit
def forward(
    plain, edited, mask, out,
    channels, pixels,
    plain_b, plain_c, plain_p, edited_b, edited_c, edited_p, mask_b, mask_c, out_b, out_c, out_p,
    ACC: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """out = plain + m (edited - plain), counted from the nearer end, so that 0 and 1 are exact."""
    picture, _, c, p = _tile(tl.program_id(0), channels, pixels, BLOCK_C, BLOCK_P)
    live = (c < channels)[:, None] & (p < pixels)[None, :]
    c, p = c[:, None], p[None, :]
    first = tl.load(plain + picture * plain_b + c * plain_c + p * plain_p, mask=live, other=0.0).to(ACC)
    second = tl.load(edited + picture * edited_b + c * edited_c + p * edited_p, mask=live, other=0.0).to(ACC)
    m = tl.load(mask + picture * mask_b + c * mask_c + p, mask=live, other=0.0).to(ACC)
    step = second - first
    mixed = tl.where(m < 0.5, first + m * step, second - (1 - m) * step)
    tl.store(out + picture * out_b + c * out_c + p * out_p, mixed.to(out.dtype.element_ty), mask=live)


@triton.jit
def backward(
    plain, edited, mask, grad, plain_grad, edited_grad, mask_grad,
    batch, channels, pixels,
    plain_b, plain_c, plain_p, edited_b, edited_c, edited_p, mask_b, mask_c, grad_b, grad_c, grad_p,
    out_b, out_c, out_p,
    WANT_PLAIN: tl.constexpr, WANT_EDITED: tl.constexpr, WANT_MASK: tl.constexpr, MASK_HAS_CHANNELS: tl.constexpr,
    ACC: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """(1 - m) g, m g, and g (edited - plain), which is [B, C, P], or [channel tiles, B, P] summed over each tile."""
    picture, block_c, column, pixel = _tile(tl.program_id(0), channels, pixels, BLOCK_C, BLOCK_P)
    live = (column < channels)[:, None] & (pixel < pixels)[None, :]
    c, p = column[:, None], pixel[None, :]
    g = tl.load(grad + picture * grad_b + c * grad_c + p * grad_p, mask=live, other=0.0).to(ACC)
    m = tl.load(mask + picture * mask_b + c * mask_c + p, mask=live, other=0.0).to(ACC)
    offset = picture * out_b + c * out_c + p * out_p
    if WANT_PLAIN:
        tl.store(plain_grad + offset, ((1 - m) * g).to(plain_grad.dtype.element_ty), mask=live)
    if WANT_EDITED:
        tl.store(edited_grad + offset, (m * g).to(edited_grad.dtype.element_ty), mask=live)
    if WANT_MASK:
        first = tl.load(plain + picture * plain_b + c * plain_c + p * plain_p, mask=live, other=0.0).to(ACC)
        second = tl.load(edited + picture * edited_b + c * edited_c + p * edited_p, mask=live, other=0.0).to(ACC)
        product = g * (second - first)
        if MASK_HAS_CHANNELS:
            tl.store(mask_grad + (picture * channels + c) * pixels + p, product, mask=live)
        else:
            row = (block_c.to(tl.int64) * batch + picture) * pixels
            tl.store(mask_grad + row + pixel, tl.sum(product, axis=0), mask=pixel < pixels)
