"""A painted photo: what the generator draws, joined to the photo so that everything else stays the photo's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import LayerState, SynthesisOptions
from ..common.pictures import to_rgb
from .blending import BLENDS, DILATION, FEATHER, blend, feathered_mask, solve_laplace
from .painted_region import affected_region, crop_state, region_to_draw
from .painting import Painting, painting_mask, stroke_boxes
from .painting_hook import DonorFeatures, PaintingHook, painting_hook

__all__ = ["JOINS", "Canvas", "PaintedPhoto", "changed", "match_tone", "render_painted_photo", "render_painting"]


CHANGE = "change only"
JOINS = (*BLENDS, CHANGE)
_UNCHANGED = (0.08, 0.2)  # difference of a colour, of 2: below the first nothing was painted, above the second it was
_RIDGE = 0.01  # of the map of tones
_CONTINUED = 0.5  # of the difference at the border: all of it lets a remnant at the border bleed in
_REACH, _EDGE = 5.0, 3.0  # px at 256
_VISIBLE = 0.05  # of the stroke: where less has changed, the object was the photo's alone; the whole stroke is taken


@dataclass(frozen=True, eq=False)
class PaintedPhoto:
    """``composite`` and ``raw`` [B, 3, H, W] in -1..1 at the photo's size, ``mask`` [B or 1, 1, H, W]: how much of each
    pixel is the generator's."""

    composite: Tensor
    raw: Tensor
    mask: Tensor


class Canvas:
    """Codes that are painted on again and again: the layers before the painting, the donors of its strokes and the
    picture without it are computed once, and a further stroke draws the part of the picture that painting can change.

    One for each picture or batch that is edited; it keeps the features of one layer, a donor's for each stroke, and one
    or two pictures. A picture is "bare" without what an adaptation adds to places of its photos.

    Args:
        generator: plain or adapted.
        codes: [B, L, D].
        noise: of all that is drawn.
        once: draw the whole picture: for a single painting nothing is known that could stay.

    Raises:
        InputError: codes that do not fit the generator.
    """

    def __init__(self, generator: GanGenerator, codes: Tensor, noise: str | int = "constant", once: bool = False):
        generator.check_latent(codes, "", "The latent to paint")
        self.generator, self.codes, self.noise, self.once = generator, codes.to(generator.device), noise, once
        self._state: LayerState | None = None
        self._state_is_bare = False
        self._donors: dict[tuple, DonorFeatures] = {}
        self._donors_are_bare = False
        self._pictures: dict[bool, Tensor] = {}

    def draw(self, painting: Painting, bare: bool = False) -> Tensor:
        """Draw the pictures with a painting.

        Args:
            painting: its strokes.
            bare: leave out what an adaptation adds to places of its photos.

        Returns:
            [B, 3, H, W], about -1..1.

        Raises:
            InputError: a painting that does not fit the generator or the codes.
        """
        synthesis = self.generator.network.synthesis
        first = painting.first_layer
        if first is None:
            return to_rgb(synthesis(self.codes, SynthesisOptions(noise=self.noise)).image)
        state = self._state_before(first, bare)
        hook = self._hook(painting, state, bare)
        boxes, box = [], None
        if state is not None and not self.once:
            boxes = stroke_boxes(painting.strokes, self.generator)
            box = region_to_draw(synthesis, boxes, state.layer)
        options = SynthesisOptions(noise=self.noise, resume=crop_state(state, box), hook=hook.cropped(box))
        drawn = to_rgb(synthesis(self.codes, options).image)
        if box is None:
            return drawn
        picture = self.unpainted(bare).clone()
        size = picture.shape[2:]
        top, bottom, left, right = affected_region(synthesis, boxes, state.layer).edges(*size)
        crop_top, _, crop_left, _ = box.edges(*size)
        affected = drawn[..., top - crop_top : bottom - crop_top, left - crop_left : right - crop_left]
        picture[..., top:bottom, left:right] = affected
        return picture

    def unpainted(self, bare: bool = True) -> Tensor:
        """Draw the pictures without painting, [B, 3, H, W]; ``bare`` ones without what an adaptation adds to places."""
        adaptation = self.generator.adaptation
        bare = bare and adaptation is not None and adaptation.local
        if bare not in self._pictures:
            state = self._state
            if state is not None and self._state_is_bare != self._leaves_out(state.layer, bare):
                state = None
            options = SynthesisOptions(noise=self.noise, resume=state, hook=self._bare_hook(bare))
            self._pictures[bare] = to_rgb(self.generator.network.synthesis(self.codes, options).image)
        return self._pictures[bare]

    def _hook(self, painting: Painting, state: LayerState | None, bare: bool) -> PaintingHook:
        """Return the painting's hook; donors' features are kept from one painting to the next that begins alike."""
        leaves_out = self._leaves_out(painting.first_layer - 1, bare)
        if self._donors_are_bare != leaves_out:  # donors make up for colours below
            self._donors, self._donors_are_bare = {}, leaves_out
        hook = painting_hook(painting, self.generator, self.codes, self.noise, state, self._donors)
        for strokes in list(self._donors):  # those of an earlier painting are not asked for again
            if painting.strokes[: len(strokes)] != strokes:
                del self._donors[strokes]
        if bare:
            hook.mask = self._everywhere()
        return hook

    def _state_before(self, layer: int, bare: bool) -> LayerState | None:
        """Return the state before a layer; that of the last call is kept, as strokes of one kind begin at one layer."""
        if layer == 0:
            return None
        bare = self._leaves_out(layer - 1, bare)
        if self._state is None or (self._state_is_bare, self._state.layer) != (bare, layer - 1):
            options = SynthesisOptions(noise=self.noise, stop_layer=layer - 1, hook=self._bare_hook(bare))
            self._state = self.generator.network.synthesis(self.codes, options).state
            self._state_is_bare = bare
        return self._state

    def _leaves_out(self, layer: int, bare: bool) -> bool:
        """Return whether a bare run lacks anything up to a layer."""
        adaptation = self.generator.adaptation
        return bare and adaptation is not None and any(adapted <= layer for adapted in adaptation.deltas)

    def _bare_hook(self, bare: bool) -> PaintingHook | None:
        """Return a hook that paints nothing and leaves out all details; None for runs that are not bare."""
        return PaintingHook(self._everywhere()) if bare else None

    def _everywhere(self) -> Tensor:
        """[1, 1, H, W] of ones."""
        return torch.ones(1, 1, *self.generator.resolution, device=self.codes.device)


def render_painting(
    generator: GanGenerator, codes: Tensor, painting: Painting, noise: str | int = "constant"
) -> Tensor:
    """Draw codes [B, L, D] with a painting on the way: [B, 3, H, W], about -1..1.

    Raises:
        InputError: codes or a painting that do not fit the generator.
    """
    with torch.no_grad():
        return Canvas(generator, codes, noise, once=True).draw(painting)


def render_painted_photo(
    canvas: Canvas,
    painting: Painting,
    photo: Tensor,
    dilation: float = DILATION,
    feather: float = FEATHER,
    method: str = "linear",
    fit: bool = True,
    tones: bool = False,
) -> PaintedPhoto:
    """Draw a painting and join it to the photo, at the photo's own size. Outside the grown mask every pixel is kept,
    but for the method "laplacian", whose coarse bands reach beyond it.

    Args:
        canvas: of the photo's codes.
        painting: its strokes.
        photo: [B, 3, H, W] in -1..1, of the generator's aspect, any size.
        dilation: by how much the mask grows, in pixels of a picture whose shorter side is 256.
        feather: sigma of the mask's soft edge, in the same pixels.
        method: one of `JOINS`: those of blending.py, or "change only", which adds to the photo what the painting
            changes in the generator's picture. That keeps the photo's own strands and edges, and suits a new look of
            what is there already; something new would let the old shine through.
        fit: keep the photo also inside the mask, wherever the painting changes nothing in what the generator draws: a
            stroke that is wider than its object takes no details away. Where something was removed the whole stroke is
            joined, as in a picture in which hardly anything shows: what the generator never drew rightly would stay.
        tones: give what is painted the tones of the picture round it, by one affine map of colours: for drawings and
            other styles, whose colours the generator does not have. On photos it costs more than it brings.

    Raises:
        InputError: a painting without strokes, photos of another aspect or number, or an unknown method.
    """
    _check(canvas, painting, photo, method)
    size, photo_size = canvas.generator.resolution, tuple(photo.shape[2:])
    with torch.no_grad():
        drawn = canvas.draw(painting, bare=tones or method == CHANGE)
        if method == CHANGE:
            drawn = _resized(drawn - canvas.unpainted(), photo_size) + photo.to(drawn)
        cleared = painting_mask(_strokes_that(painting, clear=True), *size).to(drawn)
        if method == "linear" and not tones:
            drawn = drawn + _CONTINUED * _fill_mask(canvas, painting, photo, cleared)
        picture = drawn.clamp(-1, 1)
        if tones and method != CHANGE:
            beyond = 1 - feathered_mask(painting_mask(painting, *size).to(drawn), dilation, feather)
            picture = match_tone(picture, canvas.unpainted(), _resized(photo.to(drawn), size), beyond)
        raw = _resized(picture, photo_size)
        mask = feathered_mask(painting_mask(painting, *photo_size).to(raw), dilation, feather)
        if fit and method != CHANGE:
            visible = torch.maximum(
                changed(drawn.clamp(-1, 1), canvas.unpainted()), feathered_mask(cleared, dilation, feather)
            )
            mask = mask * _resized(_fitted(visible, painting), photo_size)
        composite = blend(photo.to(raw), raw, mask, "linear" if method == CHANGE else method)
        return PaintedPhoto(composite, raw, mask)


def _check(canvas: Canvas, painting: Painting, photo: Tensor, method: str) -> None:
    """Raise InputError for an unknown method, a painting without strokes, and photos of another aspect or number."""
    check_choice("blending", method, JOINS)
    if not len(painting):
        raise InputError("The painting has no strokes yet; connect Paint Concept or Copy Appearance.")
    height, width = canvas.generator.resolution
    photo_height, photo_width = photo.shape[2:]
    if photo_height * width != photo_width * height:
        raise InputError(
            f"The photo is {photo_width} x {photo_height}; '{canvas.generator.name}' draws {width} x {height}. Crop or "
            "pad it to that shape first, with the same crop for the mask."
        )
    if len(photo) != len(canvas.codes):
        raise InputError(
            f"There are {len(photo)} photos for {len(canvas.codes)} codes; connect those of the same batch."
        )


def _strokes_that(painting: Painting, clear: bool) -> Painting:
    """Return the strokes that take something away, or those that do not."""
    return Painting(tuple(stroke for stroke in painting.strokes if stroke.clears == clear))


def _fitted(visible: Tensor, painting: Painting) -> Tensor:
    """Return where a painting is joined, [B, 1, H, W]: where it is visible, or all of it where next to nothing is."""
    mask = painting_mask(painting, *visible.shape[2:]).to(visible)
    share = (visible * mask).sum(dim=(1, 2, 3), keepdim=True) / mask.sum(dim=(1, 2, 3), keepdim=True)
    return torch.where(share < _VISIBLE, 1.0, visible)


def match_tone(painted: Tensor, unpainted: Tensor, photo: Tensor, beyond: Tensor) -> Tensor:
    """Give painted pictures a photo's tones, by an affine map of colours.

    The map takes ``unpainted`` to ``photo`` best in weighted least squares, with a ridge toward leaving colours alone.

    Args:
        painted: [B, 3, H, W] in -1..1.
        unpainted: [B, 3, H, W], the same pictures without paint.
        photo: [B, 3, H, W] in -1..1.
        beyond: [B or 1, 1, H, W] in 0..1, the weight: 1 away from the paint.

    Returns:
        [B, 3, H, W] in -1..1.
    """
    ones = torch.ones_like(unpainted[:, :1])
    colours = rearrange(torch.cat([unpainted.clamp(-1, 1), ones], dim=1), "b c h w -> b c (h w)")
    weight = rearrange(beyond.expand(len(photo), -1, -1, -1), "b 1 h w -> b 1 (h w)")
    weight = weight / weight.sum(dim=2, keepdim=True).clamp(min=1e-6)
    identity = torch.eye(3, 4).to(colours)
    ridge = _RIDGE * torch.eye(4).to(colours)
    gram = (colours * weight) @ colours.mT + ridge
    target = (rearrange(photo, "b c h w -> b c (h w)") * weight) @ colours.mT + identity @ ridge
    matrix = torch.linalg.solve(gram, target.mT).mT
    mapped = matrix @ rearrange(torch.cat([painted, ones], dim=1), "b c h w -> b c (h w)")
    return rearrange(mapped, "b c (h w) -> b c h w", h=painted.shape[2]).clamp(-1, 1)


def _fill_mask(canvas: Canvas, painting: Painting, photo: Tensor, cleared: Tensor) -> Tensor:
    """Continue the photo's difference to the generator's picture from the border of what was cleared, [B, 3, h, w].

    Where something is taken away, its surroundings go on, and so does the light that the generator missed in them. A
    stroke that puts something there is left alone: its colours are its own.
    """
    size = tuple(cleared.shape[2:])
    inserted = painting_mask(_strokes_that(painting, clear=False), *size).to(cleared)
    free = 1 - (inserted >= 0.5).to(cleared)
    inside = ((cleared >= 0.5).to(cleared) * free).expand(len(photo), 1, -1, -1)
    if not bool(inside.any()):
        return torch.zeros_like(inside)
    difference = _resized(photo.to(cleared), size) - canvas.unpainted()
    return solve_laplace(difference * (1 - inside), inside) * inside


def changed(painted: Tensor, unpainted: Tensor) -> Tensor:
    """Find where a painting shows, with a soft edge.

    The largest difference of a colour counts; what is within reach of a change belongs to it, since the photo's own
    edges are wider than the generator's.

    Args:
        painted: [B, 3, H, W] in -1..1.
        unpainted: [B, 3, H, W], clamped to -1..1 here.

    Returns:
        [B, 1, H, W] in 0..1, 0 where the picture is as it was.
    """
    difference = (painted - unpainted.clamp(-1, 1)).abs().amax(dim=1, keepdim=True)
    low, high = _UNCHANGED
    return feathered_mask(((difference - low) / (high - low)).clamp(0, 1), _REACH, _EDGE)


def _resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, h, w] -> [B, C, *size]."""
    if tuple(pictures.shape[2:]) == size:
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
