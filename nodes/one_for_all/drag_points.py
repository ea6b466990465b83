"""Drag Points: edit one example by pulling points of its picture to where they should be."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F

from ...editing.common.pictures import draw_states
from ...editing.common.rows import parse_rows
from ...editing.common.types import GanLatent
from ...editing.drag import drag as dragging
from ...editing.drag import points as pointing
from ...editing.drag.figure import drag_pictures
from ...editing.paint.brush import add_strokes, brush_mask
from ...host import current, io
from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.printable import printable_logger
from ..common.devices import place
from ..common.images import to_image_batch
from ..common.latents import check_latent
from ..common.presets import AS_SET, preset_input, with_preset
from ..common.progress import progress_for
from ..common.published import DRAG
from ..common.schema import menu_category, search_aliases, shows_its_result
from ..common.sockets import GanGeneratorType, GanLatentType
from ..common.widget_data import block_until_input, rerun_token, ui_payload

log = printable_logger(__name__)
_RADIUS = 0.06  # of a stroke that names none
# The change of a picture per component of W, for as long as its codes are in use: points may move without a new one.
_memories: WeakKeyDictionary[GanLatent, dragging.ChangeMemory] = WeakKeyDictionary()
_NO_POINTS = (
    "Drag Points: the points are empty. Pull on the picture in the node, or type 'x,y -> x,y' lines, and run again."
)


class DragPoints(io.ComfyNode):
    """Moves what is at the handles to the targets, and changes as little else as it can."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditDragPoints",
            display_name="Drag Points",
            category=menu_category("example"),
            description="Edits one example by dragging: what is at a handle moves to its target, and the picture "
            "follows.",
            **search_aliases("DragGAN", "move points", "warp face", "drag edit"),
            **shows_its_result(),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the code."),
                GanLatentType.Input("latents", tooltip="The example: one code. Select Latents picks one of a batch."),
                io.String.Input(
                    "points",
                    default="",
                    multiline=True,
                    tooltip="One drag a line, 'x,y -> x,y' from handle to target, or the JSON of a point editor.",
                ),
                io.Combo.Input(
                    "units",
                    options=list(pointing.UNITS),
                    tooltip="pixels, or fractions of width and height. auto: fractions when nearly all numbers lie "
                    "in 0..1 and one of them is not whole.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(dragging.METHODS),
                    tooltip="least change: few exact steps, and the rest of the picture stays. published: DragGAN's "
                    "own many small steps.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=5000,
                    tooltip="The most steps; it ends earlier when the handles arrive. 0: the method's own number.",
                ),
                io.Float.Input(
                    "tolerance",
                    default=0.0,
                    min=0.0,
                    max=50.0,
                    step=0.1,
                    tooltip="How near the target is near enough, in pixels. 0: the method's own.",
                ),
                io.Float.Input(
                    "keep",
                    display_name="region weight",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="How strongly the rest is held. More keeps more and reaches less; 0 holds nothing.",
                ),
                io.Float.Input(
                    "learning_rate",
                    default=0.001,
                    min=0.00001,
                    max=0.5,
                    step=0.0005,
                    tooltip="Step size of the published method; 'least change' finds its own.",
                ),
                io.String.Input(
                    "rows",
                    default="auto",
                    tooltip="Layers that may change. auto: the first six; or all, coarse, middle, fine, 0-7.",
                ),
                io.Int.Input(
                    "canvas_width",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Width of the picture the points were set on, in pixels. 0: the generator's own.",
                ),
                io.Int.Input(
                    "canvas_height",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Height of the picture the points were set on, in pixels. 0: the generator's own.",
                ),
                io.String.Input(
                    "targets",
                    optional=True,
                    force_input=True,
                    tooltip="The targets alone, for editors that give two lists; 'points' then holds the handles.",
                ),
                io.Mask.Input(
                    "region",
                    optional=True,
                    tooltip="1 where the picture may change. Left out: everywhere.",
                ),
                io.String.Input(
                    "strokes",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="The region as brush strokes of the editor, 'radius: x y, x y' a line in shares of the "
                    "picture; added to a connected region. Empty: none.",
                ),
                io.Int.Input(
                    "feature_height",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    tooltip="Height of the features that are followed, in pixels. 0: 128 as published, or half the "
                    "picture where that is less.",
                ),
                preset_input(DRAG),
            ],
            outputs=[
                GanLatentType.Output("start", "start", tooltip="The example's code before the drag."),
                GanLatentType.Output("edited", "edited", tooltip="The example's code after the drag, for Record Edit."),
                io.Image.Output("images", "images", tooltip="The example before and after."),
                io.Image.Output(
                    "preview",
                    "preview",
                    tooltip="The same with points: handles red, targets blue, the way they went yellow.",
                ),
                io.String.Output(
                    "report", "report", tooltip="How far each handle came, the steps, and what else changed."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, points: str | None = "", **wired: object) -> float | str:
        return rerun_token(points is not None and not points.strip() and "targets" not in wired)

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        latents: GanLatent,
        points: str,
        units: str,
        method: str,
        steps: int,
        tolerance: float,
        keep: float,
        learning_rate: float,
        rows: str,
        canvas_width: int,
        canvas_height: int,
        targets: str | None = None,
        region: torch.Tensor | None = None,
        strokes: str = "",
        feature_height: int = 0,
        preset: str = AS_SET,
    ) -> io.NodeOutput:
        chosen, preset_note = with_preset(
            DRAG, preset, method=method, steps=steps, tolerance=tolerance, keep=keep, learning_rate=learning_rate,
            rows=rows, feature_height=feature_height,
        )  # fmt: skip
        method, rows, feature_height = chosen["method"], chosen["rows"], chosen["feature_height"]
        _check_inputs(generator, latents, units, method, canvas_width, canvas_height)
        size = generator.resolution
        if not points.strip() and targets is None:
            place(generator)
            example = to_image_batch(generator.synthesize(latents.codes))
            return block_until_input(_NO_POINTS, ui_payload(cls, {"picture": example}))
        canvas = (canvas_height, canvas_width) if canvas_width else None
        drags = pointing.parse_points(points, size, units, targets, canvas)
        layers = None if rows.strip().lower() == "auto" else parse_rows(rows, generator.num_layers)
        mask, note = _region_mask(region, size)
        if strokes.strip():
            mask = add_strokes(mask, brush_mask(strokes, _RADIUS, *size, current().progress(1, "strokes")))[0]
        settings = _settings(
            method, chosen["steps"], chosen["tolerance"] / size[0], chosen["keep"], chosen["learning_rate"]
        )
        if feature_height:
            settings = replace(settings, feature_height=min(feature_height, size[0]), feature_ratio=1.0)
        place(generator)
        memory = _memories.setdefault(latents, dragging.ChangeMemory())
        progress = progress_for(settings.steps, "dragging")
        result = dragging.drag(generator, latents.codes, drags, mask, layers, settings, progress, memory=memory)
        pictures = draw_states(generator, torch.cat([latents.codes.to(result.code), result.code]))
        images = to_image_batch(pictures)
        preview = drag_pictures(images[0].cpu(), images[1].cpu(), drags, result).to(current().result_device())
        edited = GanLatent(result.code, latents.names, generator.family)
        report = "\n".join(line for line in (_report(drags, result, note), preset_note) if line)
        payload = ui_payload(cls, {"picture": images[:1], "result": images[1:]}, report=report)
        return io.NodeOutput(latents, edited, images, preview, report, ui=payload)


def _check_inputs(
    generator: GanGenerator, latents: GanLatent, units: str, method: str, canvas_width: int, canvas_height: int
) -> None:
    """Refuse several codes, unknown choices, and half a canvas."""
    check_latent(generator, latents)
    if len(latents) != 1:
        raise InputError(
            f"The latent holds {len(latents)} codes, and one is dragged at a time; pick the example with Select "
            "Latents first."
        )
    check_choice("units", units, pointing.UNITS)
    check_choice("method", method, dragging.METHODS)
    if bool(canvas_width) != bool(canvas_height):
        raise InputError("Give both canvas_width and canvas_height, or leave both at 0.")


def _settings(method: str, steps: int, tolerance: float, keep: float, learning_rate: float) -> dragging.DragSettings:
    """Return a method's settings with what was set on the node; 0 keeps the method's own.

    Args:
        tolerance: share of the picture's height.
        keep: factor of the method's region weight.
    """
    defaults = dragging.METHODS[method]
    return replace(
        defaults,
        steps=steps or defaults.steps,
        tolerance=tolerance or defaults.tolerance,
        region_weight=defaults.region_weight * keep,
        learning_rate=learning_rate,
    )


def _region_mask(region: torch.Tensor | None, size: tuple[int, int]) -> tuple[torch.Tensor | None, str]:
    """Resize a MASK [1, h, w] or [h, w] to [H, W] of the generator's size, with a note where it had another size."""
    if region is None:
        return None, ""
    mask = region[None] if region.ndim == 2 else region
    if mask.ndim != 3 or 0 in mask.shape:
        raise InputError(f"The region has shape {list(region.shape)}; expected a MASK [H, W].")
    if mask.shape[0] != 1:
        raise InputError(f"The region holds {mask.shape[0]} masks; one is needed, for the one picture that is dragged.")
    if not bool(torch.isfinite(mask).all()):
        raise InputError("The region holds values that are not finite.")
    note = ""
    if tuple(mask.shape[1:]) != size:
        note = f"the region of {mask.shape[2]} x {mask.shape[1]} was resized to {size[1]} x {size[0]}"
        log.info("Drag Points: %s.", note)
        mask = F.interpolate(mask[:, None].float(), size, mode="area")[:, 0]
    return mask[0].float().clamp(0, 1), note


def _report(points: pointing.DragPoints, result: dragging.DragResult, note: str) -> str:
    """Describe how far each handle came, in pixels."""
    before = (points.targets - points.handles).norm(dim=1).tolist()
    after = (points.targets.cpu() - result.positions[-1]).norm(dim=1).tolist()
    lines = [f"{result.stop} after {result.steps} steps; farthest handle {max(after):.2f} px from its target"]
    for k, (old, new) in enumerate(zip(before, after, strict=True), start=1):
        lines.append(f"drag {k}: {old:.1f} px before, {new:.2f} px after")
    if result.outside is not None:
        lines.append(f"mean change outside the region: {result.outside / 2:.2%} of the range from black to white")
    if result.stop == "no further" and max(after) > 0.1 * max(before):
        lines.append(_HINT)
    if note:
        lines.append(note)
    return "\n".join(lines)


_HINT = (
    "The handles stopped short: what they mark cannot go there on this picture, or the region holds it back. Try a "
    "larger region, a smaller region weight ('keep'), a nearer target, or a handle on a clearer spot."
)
