"""Text edits: a change of codes with the regions and layers where it may show (CoralStyleCLIP, 2303.05031)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.progan import ARCHITECTURE as PROGRESSIVE
from ...models.gan.stylegan3_config import ALIAS_FREE
from ...models.gan.text_edit_networks import LatentMapper, LayerAttention
from ...models.inference import no_inference_mode
from ..common.part_labels import PartLabels
from ..common.types import EditDirection, check_rows

__all__ = ["TextEdit", "check_edit", "check_edit_fits", "check_styles", "on_device_of"]


@dataclass(frozen=True, eq=False)
class TextEdit:
    """The change of codes that a sentence asks for, and its masks (socket TEXT_EDIT).

    Row l of a picture's mask is m_l = (sum over parts p of s[p, l] M_p) x attention_l, each factor where it exists.

    Args:
        prompt: the sentence.
        offset: [L, D], what is added to every code; with a mapper the mean of what it adds.
        mapper: adds a change of its own to each code; None: the offset is the same for all.
        selection: s [P, L] in 0..1, how much of part p changes at row l; None: parts play no role.
        parts: the P names that PART_LABELS must bring.
        attention: masks from the features of the unedited picture; None: none.
        rows: the rows that may change; left out: all.
        threshold: masks below it are 0; keeps faint halos out.
        region: [h, w] in 0..1, changed by hand: the edit shows nowhere else; None: everywhere.
        extra: [h, w] in 0..1, changed by hand: the edit shows here whatever else says; None: nowhere.
        keeps_outside: where no mask reaches, every layer is the unedited picture's; else edits leak a little.
        source: the sentence it starts from.
        family: the generator family it belongs to, "" when unknown.
        name, method: for people and files.

    Raises:
        InputError: shapes that do not agree, or nothing that changes.
    """

    prompt: str
    offset: Tensor
    mapper: LatentMapper | None = None
    selection: Tensor | None = None
    parts: tuple[str, ...] = ()
    attention: LayerAttention | None = None
    rows: Sequence[int] = ()
    threshold: float = 0.0
    region: Tensor | None = None
    extra: Tensor | None = None
    keeps_outside: bool = False
    source: str = ""
    family: str = ""
    name: str = "text edit"
    method: str = ""

    def __post_init__(self) -> None:
        if self.offset.ndim != 2 or not bool(torch.isfinite(self.offset).all()):
            raise InputError(f"A text edit changes codes by [L, D] finite numbers; got {list(self.offset.shape)}.")
        if not bool(self.offset.abs().max() > 0):
            raise InputError(f"The text edit '{self.prompt}' changes nothing; train it for longer.")
        count = len(self.offset)
        object.__setattr__(self, "rows", check_rows(self.rows or range(count), count, "The text edit"))
        if self.selection is not None and self.selection.shape != (len(self.parts), count):
            raise InputError(
                f"The selection has shape {list(self.selection.shape)}; {len(self.parts)} parts and {count} rows need "
                f"[{len(self.parts)}, {count}]."
            )
        if not 0 <= self.threshold < 1:
            raise InputError(f"The threshold of the masks must lie in 0..1; got {self.threshold}.")

    def changed(self, codes: Tensor, alpha: Tensor | float = 1.0) -> Tensor:
        """Change codes by the edit, masks aside.

        Args:
            codes: [B, L, D].
            alpha: strength, one number or [B].

        Returns:
            [B, L, D].

        Raises:
            InputError: strengths that are not one per picture.
        """
        alpha = torch.as_tensor(alpha, dtype=codes.dtype, device=codes.device).reshape(-1, 1, 1)
        if alpha.shape[0] not in (1, len(codes)):
            raise InputError(
                f"There are {alpha.shape[0]} strengths for {len(codes)} pictures; one per picture is needed."
            )
        if self.mapper is not None:
            return codes + alpha * on_device_of(self.mapper, codes)(codes) * self._row_mask(codes)
        return codes + alpha * (self.offset.to(codes) * self._row_mask(codes))

    def direction(self) -> EditDirection:
        """Return the edit as a direction of W+, for Edit One for All: its mean change on the rows that it uses."""
        used = [row for row in self.rows if self.selection is None or bool(self._selected()[:, row].any())]
        return EditDirection(
            self.offset, self.offset, used or self.rows, method=f"text edit: {self.prompt}", family=self.family,
            name=self.name,
        )  # fmt: skip

    def acting_parts(self) -> tuple[str, ...]:
        """Return the parts that change at any of its rows; none where parts play no role."""
        if self.selection is None:
            return ()
        selected = self._selected()[:, list(self.rows)].any(dim=1).tolist()
        return tuple(name for name, acts in zip(self.parts, selected, strict=True) if acts)

    def refined(self, **changes: object) -> TextEdit:
        """Return the edit with other rows, threshold, region, extra, selection or name."""
        return replace(self, **changes)

    def _selected(self) -> Tensor:
        """Return where a part is selected at all, [P, L] bool."""
        return self.selection > self.threshold

    def _row_mask(self, like: Tensor) -> Tensor:
        """Return 1 for the rows that may change, [L, 1]."""
        mask = torch.zeros(len(self.offset), 1)
        mask[list(self.rows)] = 1
        return mask.to(like)


def check_styles(generator: GanGenerator) -> None:
    """Refuse a generator whose layers cannot draw two codes side by side.

    Raises:
        InputError: it is a Progressive GAN or a StyleGAN3.
    """
    if generator.network.config.architecture == ALIAS_FREE:
        raise InputError(
            f"Text edits mix two codes layer by layer; '{generator.name}' is a StyleGAN3, which draws one code for the "
            "whole picture. Use a StyleGAN2 generator, or a direction (Discover Directions, Optimize Direction)."
        )
    if generator.network.config.architecture == PROGRESSIVE:
        raise InputError("Text edits need a generator with a style per layer; a Progressive GAN has one code only.")


def check_edit_fits(edit: TextEdit, generator: GanGenerator) -> None:
    """Refuse an edit that was not made for this generator's W space.

    Raises:
        InputError: another family or shape, or a generator without styles.
    """
    check_styles(generator)
    generator.check_latent(edit.offset[None], edit.family, f"The text edit '{edit.prompt}'")


def check_edit(edit: TextEdit, generator: GanGenerator, codes: Tensor, parts: PartLabels | None) -> None:
    """Refuse an edit, a generator, codes [B, L, D] and parts that do not belong together.

    Raises:
        InputError: the edit or the codes are another generator's, or parts are missing or of another batch.
    """
    check_edit_fits(edit, generator)
    generator.check_latent(codes, "", "The latent")
    if edit.selection is None:
        return
    if parts is None:
        raise InputError(
            f"The text edit '{edit.prompt}' acts on the parts {', '.join(edit.parts)}: connect the part labels "
            "of these pictures."
        )
    missing = [name for name in edit.parts if name not in parts.names]
    if missing:
        raise InputError(
            f"The text edit '{edit.prompt}' was trained with the part '{missing[0]}', which is not among these part "
            f"labels: {', '.join(parts.names)}."
        )
    if len(parts) not in (1, len(codes)):
        raise InputError(f"There are part labels of {len(parts)} pictures for {len(codes)} codes; label this batch.")


def on_device_of(network: nn.Module, codes: Tensor) -> nn.Module:
    """Move a small network of an edit to the codes' device: a file's tensors come to the CPU, wherever others work."""
    if next(network.parameters()).device != codes.device:
        with no_inference_mode():  # moved under inference mode, its weights could never take part in a training
            network.to(codes.device)
    return network
