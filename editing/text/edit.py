"""Text edits: a change of codes with the regions and layers where it may show (CoralStyleCLIP, 2303.05031)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import LayerBlend, resized_mask
from ...models.gan.progan import ARCHITECTURE as PROGRESSIVE
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.gan.text_edit_networks import LatentMapper, LayerAttention
from ...models.inference import no_inference_mode
from ..common.part_labels import PartLabels
from ..common.types import EditDirection, check_rows

__all__ = ["TextEdit", "layer_blend", "row_masks"]


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
            return codes + alpha * _on_device_of(self.mapper, codes)(codes) * self._row_mask(codes)
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


def row_masks(
    edit: TextEdit,
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D], before the edit
    parts: PartLabels | None = None,  # of these pictures; needed where the edit selects parts
    noise: str | int = "constant",
    first_index: int = 0,  # position of codes[0] in a larger batch, for seeded noise
    photos: Tensor | None = None,  # [B]: of an adapted generator, whose photo each code is
) -> list[Tensor | None]:
    """Compute the masks of the L rows, [B or 1, 1, h, w] each, None where a row shows nothing.

    Raises:
        InputError: an edit of another generator, or parts that are missing or of another batch.
    """
    check_edit(edit, generator, codes, parts)
    codes = codes.to(generator.device)
    last = len(generator.network.synthesis.layers) - 1
    attention: dict[int, Tensor] = {}
    if edit.attention is not None:
        options = SynthesisOptions(noise=noise, first_index=first_index, photos=photos)
        attention = _attention_masks(edit, generator, codes, options)
    masks: list[Tensor | None] = []
    for row in range(generator.num_layers):
        masks.append(_row_mask(edit, row, min(row, last), generator, codes, parts, attention))
    return masks


def check_styles(generator: GanGenerator) -> None:
    """Refuse a generator without a style of its own for each layer.

    Raises:
        InputError: it is a Progressive GAN.
    """
    if generator.network.config.architecture == PROGRESSIVE:
        raise InputError("Text edits need a generator with a style per layer; a Progressive GAN has one code only.")


def selected_mask(labels: Tensor, weights: Tensor, size: Sequence[int]) -> Tensor:
    """Sum part masks by their weights.

    Args:
        labels: [B, P, h, w] in 0..1.
        weights: [P] in 0..1.
        size: height, width of the result.

    Returns:
        [B, 1, *size] in 0..1.
    """
    return (resized_mask(labels, size) * weights[:, None, None]).sum(dim=1, keepdim=True).clamp(0, 1)


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


def layer_blend(
    edit: TextEdit,
    codes: Tensor,  # [B, L, D], before the edit
    masks: Sequence[Tensor | None],  # of the L rows, [B or 1, 1, h, w] in 0..1
    alpha: Tensor | float = 1.0,  # strength, one number or [B]
) -> LayerBlend:
    """Return the blend by which a synthesis paints the edit inside its masks."""
    return LayerBlend(edit.changed(codes, alpha), masks)


def _on_device_of(network: nn.Module, codes: Tensor) -> nn.Module:
    """Move a small network of an edit to the codes' device: a file's tensors come to the CPU, wherever others work."""
    if next(network.parameters()).device != codes.device:
        with no_inference_mode():  # moved under inference mode, its weights could never take part in a training
            network.to(codes.device)
    return network


def _attention_masks(
    edit: TextEdit, generator: GanGenerator, codes: Tensor, options: SynthesisOptions
) -> dict[int, Tensor]:
    """Compute the attention of the layers of the edit's rows, [B, 1, h, w] each, from the unedited features."""
    last = len(generator.network.synthesis.layers) - 1
    layers = {min(row, last) for row in edit.rows}
    with torch.no_grad():
        options = replace(options, want_features=layers, stop_layer=max(layers))
        run = generator.network.synthesis(codes, options)
        network = _on_device_of(edit.attention, codes)
        return {layer: network(layer, features) for layer, features in run.features.items()}


def _row_mask(
    edit: TextEdit,
    row: int,
    layer: int,
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    parts: PartLabels | None,
    attention: Mapping[int, Tensor],  # layer -> [B, 1, h, w]
) -> Tensor | None:
    """Multiply the factors of one row's mask, [B or 1, 1, h, w]; None where the row shows nothing."""
    if row not in edit.rows:
        return None
    size = generator.network.synthesis.layer_size(layer)[1:]
    mask = torch.ones(1, 1, 1, 1, device=codes.device, dtype=codes.dtype)
    if edit.selection is not None:
        weights = edit.selection[:, row].to(codes)
        if float(weights.max()) <= edit.threshold:
            return _with_extra(edit, None, size, codes)
        labels = torch.stack([parts.part(name) for name in edit.parts], dim=1).to(codes)
        mask = selected_mask(labels, weights, size)
    if attention:
        mask = mask * attention[layer].to(codes)
    if edit.threshold > 0:
        # From the threshold on it rises faster, so that the edge stays soft and a full mask stays full.
        mask = ((mask - edit.threshold) / (1 - edit.threshold)).clamp(min=0)
    if edit.region is not None:
        mask = resized_mask(mask, size) * resized_mask(edit.region[None, None].to(codes), size)
    return _with_extra(edit, mask, size, codes)


def _with_extra(edit: TextEdit, mask: Tensor | None, size: Sequence[int], like: Tensor) -> Tensor | None:
    """Add the region in which the edit shows whatever else says."""
    if edit.extra is None:
        return mask
    extra = resized_mask(edit.extra[None, None].to(like), size)
    return extra if mask is None else torch.maximum(resized_mask(mask, size), extra)
