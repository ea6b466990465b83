"""A painting on a photo: what the generator draws, joined to the photo so that everything else stays the photo's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import LayerState, SynthesisOptions, SynthesisResult
from ..common.pictures import to_rgb
from .blending import BLENDS, DILATION, FEATHER, blend, feathered_mask, harmonic
from .painted_region import cut, felt, painted_part
from .painting import Painting, marks_at, painting_mask
from .painting_hook import Donated, PaintingHook, painting_hook

__all__ = ["JOINS", "Canvas", "PaintedPhoto", "changed", "render_painting", "render_painted_photo", "toned"]


CHANGE = "change only"
JOINS = (*BLENDS, CHANGE)
_UNCHANGED = (0.08, 0.2)  # difference of a colour, of 2: below the first nothing was painted, above the second it was
_HELD = 0.01  # ridge of the map of tones
_CONTINUED = 0.5  # of the difference at the border: all of it lets a remnant at the border bleed in
_REACH, _EDGE = 5.0, 3.0  # px at 256
_SHOWS = 0.05  # of the stroke: where less has changed, the object was the photo's alone, and the whole stroke is taken


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
    or two pictures. With ``once`` the whole picture is drawn: for a single painting nothing is known that could stay.
    """

    def __init__(self, generator: GanGenerator, codes: Tensor, noise: str | int = "constant", once: bool = False):
        generator.check_latent(codes, "", "The latent to paint")
        self.generator, self.codes, self.noise, self.once = generator, codes.to(generator.device), noise, once
        self._state: tuple[bool, LayerState] | None = None  # whether details are left out in it
        self._donors: dict[tuple, Donated] = {}
        self._left_out = False  # of the state that the donors were made with
        self._pictures: dict[bool, Tensor] = {}

    def draw(self, painting: Painting, bare: bool = False) -> Tensor:
        """[B, 3, H, W], about -1..1: the pictures with the painting.

        ``bare`` leaves out what an adaptation adds to places of its photos, as `unpainted` does."""
        synthesis = self.generator.network.synthesis
        first = painting.first_layer
        if first is None:
            return to_rgb(synthesis(self.codes, SynthesisOptions(noise=self.noise)).image)
        below = self._before(first, bare)
        if self._left_out != (leaves_out := self._leaves_out(first - 1, bare)):  # donors make up for colours below
            self._donors, self._left_out = {}, leaves_out
        hook = painting_hook(painting, self.generator, self.codes, self.noise, below, self._donors)
        for strokes in list(self._donors):  # those of an earlier painting are not asked for again
            if painting.strokes[: len(strokes)] != strokes:
                del self._donors[strokes]
        if bare:
            hook.mask = self._everywhere()
        window = None
        if below is not None and not self.once:
            marks = marks_at(painting.strokes, self.generator)
            window = painted_part(synthesis, marks, below.layer)
        drawn = synthesis(
            self.codes, SynthesisOptions(noise=self.noise, resume=cut(below, window), hook=hook.within(window))
        ).image
        if window is None:
            return to_rgb(drawn)
        whole = self.unpainted(bare).clone()
        top, bottom, left, right = felt(synthesis, marks, below.layer).box(*whole.shape[2:])
        above, _, beside, _ = window.box(*whole.shape[2:])
        part = to_rgb(drawn)[..., top - above : bottom - above, left - beside : right - beside]
        whole[..., top:bottom, left:right] = part
        return whole

    def unpainted(self, bare: bool = True) -> Tensor:
        """[B, 3, H, W]: the pictures without painting; ``bare`` ones without what an adaptation adds to places."""
        adaptation = self.generator.adaptation
        bare = bare and adaptation is not None and adaptation.local
        if bare not in self._pictures:
            known = None
            if self._state is not None and self._state[0] == self._leaves_out(self._state[1].layer, bare):
                known = self._state[1]
            self._pictures[bare] = to_rgb(self._run(bare, resume=known).image)
        return self._pictures[bare]

    def _before(self, layer: int, bare: bool) -> LayerState | None:
        """The state before a layer; that of the last layer asked for is kept, as strokes of one kind begin at one."""
        if layer == 0:
            return None
        bare = self._leaves_out(layer - 1, bare)
        if self._state is None or (self._state[0], self._state[1].layer) != (bare, layer - 1):
            self._state = bare, self._run(bare, stop_layer=layer - 1).state
        return self._state[1]

    def _leaves_out(self, layer: int, bare: bool) -> bool:
        """Whether anything is missing up to a layer, where what an adaptation adds to places is left out."""
        adaptation = self.generator.adaptation
        return bare and adaptation is not None and any(each <= layer for each in adaptation.deltas)

    def _run(self, bare: bool, **options) -> SynthesisResult:
        hook = PaintingHook(self._everywhere()) if bare else None
        return self.generator.network.synthesis(self.codes, SynthesisOptions(noise=self.noise, hook=hook, **options))

    def _everywhere(self) -> Tensor:
        return torch.ones(1, 1, *self.generator.resolution, device=self.codes.device)


def render_painting(
    generator: GanGenerator, codes: Tensor, painting: Painting, noise: str | int = "constant"
) -> Tensor:
    """[B, L, D] -> [B, 3, H, W] about -1..1, with the painting on the way."""
    with torch.no_grad():
        return Canvas(generator, codes, noise, once=True).draw(painting)


def render_painted_photo(
    canvas: Canvas,
    painting: Painting,
    photo: Tensor,  # [B, 3, H, W] in -1..1, of the generator's aspect, any size
    dilation: float = DILATION,
    feather: float = FEATHER,
    method: str = "linear",
    fit: bool = True,
    tones: bool = False,
) -> PaintedPhoto:
    """Draw the painting and join it to the photo, at the photo's own size. Outside the grown mask every pixel is kept,
    but for the method "laplacian", whose coarse bands reach beyond it.

    ``fit`` keeps the photo also inside of it, wherever the painting changes nothing in what the generator draws: a
    stroke that is wider than its object takes no details away. Where something was removed the whole stroke is joined,
    as in a picture in which hardly anything shows: what the generator never drew rightly would stay otherwise.

    ``tones`` gives what is painted the tones of the picture round it, by one affine map of colours: for drawings and
    other styles, whose colours the generator does not have. On photos it costs more than it brings.

    ``method`` is one of `JOINS`: those of blending.py, or "change only", which adds to the photo what the painting
    changes in the generator's picture. That keeps the photo's own strands and edges, and suits a new look of what is
    there already; something new would let the old shine through.

    Raises InputError for a painting without strokes, photos of another aspect or number, and unknown methods.
    """
    if method not in JOINS:
        raise InputError(f"Unknown blending '{method}'; expected one of {', '.join(JOINS)}.")
    if not len(painting):
        raise InputError("The painting has no strokes yet; connect Paint Concept or Copy Appearance.")
    height, width = canvas.generator.resolution
    given = tuple(photo.shape[2:])
    if given[0] * width != given[1] * height:
        raise InputError(
            f"The photo is {given[1]} x {given[0]}; '{canvas.generator.name}' draws {width} x {height}. Crop or pad it "
            "to that shape first, with the same crop for the mask."
        )
    if len(photo) != len(canvas.codes):
        raise InputError(
            f"There are {len(photo)} photos for {len(canvas.codes)} codes; connect those of the same batch."
        )
    with torch.no_grad():
        drawn = canvas.draw(painting, bare=tones or method == CHANGE)
        if method == CHANGE:
            drawn = _resized(drawn - canvas.unpainted(), given) + photo.to(drawn)
        cleared = painting_mask(Painting(tuple(stroke for stroke in painting.strokes if stroke.clears)), height, width)
        if method == "linear" and not tones:
            drawn = drawn + _CONTINUED * _continued(canvas, painting, photo, cleared.to(drawn))
        shown = drawn.clamp(-1, 1)
        if tones and method != CHANGE:
            beyond = 1 - feathered_mask(painting_mask(painting, height, width).to(drawn), dilation, feather)
            shown = toned(shown, canvas.unpainted(), _resized(photo.to(drawn), (height, width)), beyond)
        raw = _resized(shown, given)
        mask = feathered_mask(painting_mask(painting, *given).to(raw), dilation, feather)
        if fit and method != CHANGE:
            where = painting_mask(painting, *drawn.shape[2:]).to(drawn)
            shows = changed(drawn.clamp(-1, 1), canvas.unpainted())
            shows = torch.maximum(shows, feathered_mask(cleared.to(drawn), dilation, feather))
            share = (shows * where).sum(dim=(1, 2, 3), keepdim=True) / where.sum(dim=(1, 2, 3), keepdim=True)
            mask = mask * _resized(torch.where(share < _SHOWS, 1.0, shows), given)
        return PaintedPhoto(blend(photo.to(raw), raw, mask, "linear" if method == CHANGE else method), raw, mask)


def toned(painted: Tensor, unpainted: Tensor, photo: Tensor, beyond: Tensor) -> Tensor:
    """``painted`` [B, 3, H, W] under the affine map of colours that takes ``unpainted`` to ``photo`` best where
    ``beyond`` [B or 1, 1, H, W] is 1, held back a little toward leaving colours alone."""
    ones = torch.ones_like(unpainted[:, :1])
    seen = torch.cat([unpainted.clamp(-1, 1), ones], dim=1).flatten(2)
    weight = beyond.expand(len(photo), -1, -1, -1).flatten(2)
    weight = weight / weight.sum(dim=2, keepdim=True).clamp(min=1e-6)
    plain = torch.eye(3, 4).to(seen)
    held = _HELD * torch.eye(4).to(seen)
    together = (seen * weight) @ seen.transpose(1, 2) + held
    wanted = (photo.flatten(2) * weight) @ seen.transpose(1, 2) + plain @ held
    matrix = torch.linalg.solve(together, wanted.transpose(1, 2)).transpose(1, 2)
    mapped = matrix @ torch.cat([painted, ones], dim=1).flatten(2)
    return mapped.unflatten(2, painted.shape[2:]).clamp(-1, 1)


def _continued(canvas: Canvas, painting: Painting, photo: Tensor, cleared: Tensor) -> Tensor:
    """[B, 3, h, w]: the photo's difference to the generator's picture, continued from the border of what was cleared.

    Where something is taken away, its surroundings go on, and so does the light that the generator missed in them. A
    stroke that puts something there is left alone: its colours are its own.
    """
    placed = Painting(tuple(stroke for stroke in painting.strokes if not stroke.clears))
    size = tuple(cleared.shape[2:])
    free = 1 - (painting_mask(placed, *size).to(cleared) >= 0.5).to(cleared)
    inside = ((cleared >= 0.5).to(cleared) * free).expand(len(photo), 1, -1, -1)
    if not bool(inside.any()):
        return torch.zeros_like(inside)
    missed = _resized(photo.to(cleared), size) - canvas.unpainted()
    return harmonic(missed * (1 - inside), inside) * inside


def changed(painted: Tensor, unpainted: Tensor) -> Tensor:
    """[B, 1, H, W] in 0..1: 1 where a painting shows, 0 where it leaves the picture as it was, with a soft edge.

    The largest difference of a colour counts; what is within reach of a change belongs to it, since the photo's own
    edges are wider than the generator's.
    """
    apart = (painted - unpainted.clamp(-1, 1)).abs().amax(dim=1, keepdim=True)
    low, high = _UNCHANGED
    return feathered_mask(((apart - low) / (high - low)).clamp(0, 1), _REACH, _EDGE)


def _resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pictures.shape[2:]) == size:
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
