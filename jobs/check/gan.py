"""The check-up of a GAN generator: layout, samples, W, one edit for all, inversion, times; and what to mind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...editing.common.figures import contact_sheet
from ...editing.common.pictures import fit_to_resolution, to_rgb
from ...editing.common.progress import Progress, silent, stage
from ...editing.common.sample import sample
from ...editing.drag.features import feature_layer
from ...editing.drag.settings import DragSettings
from ...editing.one_for_all.closed_form import apply_edit, compute_strength
from ...editing.one_for_all.discover import METHODS as COMPONENTS
from ...editing.one_for_all.discover import component_edit, find_components
from ...editing.one_for_all.example_edit import record_edit
from ...editing.paint.dissection import middle_layer
from ...editing.photos.inversion import invert
from ...models.gan.generator import GanGenerator
from ...models.gan.stylegan3_config import ALIAS_FREE
from ...models.inference import enable_training, no_inference_mode
from .clock import machine, peak_memory, timed
from .report import CheckReport, Sheet, channels_last, tiles
from .samples import DEMO, measure_samples
from .suitability import Times, warnings_of
from .weights import LOOKS_RANDOM, random_share

__all__ = ["check_generator"]

_SAMPLES, _PER_ROW = 16, 8
_EXAMPLES = 8  # pictures that one edit is brought to
_AMOUNT = 2.0  # deviations of W, of the example's edit
_PHOTOS = 4  # at most
_FEWEST_STEPS, _STEPS, _SECONDS = 20, 150, 90.0  # of an inversion: its default, or what fits into the time
_BATCH = 4
_PATIENCE = 30.0  # seconds: a picture that takes longer is not timed in a batch
_WORK = 60  # what the progress counts to before photos are inverted


@dataclass(frozen=True)
class _Timing:
    times: Times
    lines: tuple[str, ...]


def check_generator(
    generator: GanGenerator,
    photos: Tensor | None = None,  # [B, 3, h, w] in -1..1, of any size; the first four count
    seed: int = 0,
    steps: int | None = None,  # of the inversion; None: the default's, or what fits into a minute and a half
    progress: Progress | None = None,  # previews [3, H, W] in 0..1
) -> CheckReport:
    """Measure a generator at its true size. Random weights are measured as well, and said to look random.

    Raises:
        InputError: photos of no shape that fits.
    """
    progress, total = progress or silent, _WORK + (0 if photos is None else steps or _STEPS)
    report = CheckReport(f"Check-up of a generator, {_size(generator)}")
    with no_inference_mode(), torch.no_grad():
        codes = sample(generator, _SAMPLES, seed).codes
        pictures = to_rgb(generator.synthesize(codes, progress=stage(progress, 0, total)))
        share = random_share(generator.network)
        statistics = measure_samples(generator, codes, pictures)
        report.add("Layout", _layout(generator, share))
        report.add("Codes and pictures, beside the demo generator's", statistics.lines(DEMO))
        report.sheets.append(_sample_sheet(generator, pictures))
        progress(30, total, None)
        edit_lines, sheet = _one_edit(generator, codes[:_EXAMPLES], pictures[:_EXAMPLES])
        report.add("One edit brought to all", edit_lines)
        report.sheets.append(sheet)
        progress(45, total, None)
        timing = _measure_times(generator, codes)
        progress(_WORK, total, None)
    likeness: list[float] = []
    if photos is not None:
        lines, sheet, likeness = _invert(
            generator, photos[:_PHOTOS], steps, timing.times, stage(progress, _WORK, total)
        )
        report.add("Inversion of photos", lines)
        report.sheets.append(sheet)
    report.add("Times at full size", [*timing.lines, _memory(generator)])
    report.add("What the defaults come to here", _defaults(generator))
    report.warnings = warnings_of(generator, statistics, share, timing.times, likeness)
    progress(total, total, None)
    return report


def _size(generator: GanGenerator) -> str:
    height, width = generator.resolution
    return f"{width} x {height}"


def _layout(generator: GanGenerator, share: float) -> list[str]:
    """List the facts of the network's layout, and those on which parity with other code depends."""
    config, network = generator.network.config, generator.network
    numbers = sum(parameter.numel() for parameter in network.parameters())
    lines = [
        f"{generator.family}: {config.architecture}, {generator.num_layers} rows of {generator.w_dim}, z of "
        f"{generator.z_dim}, {numbers / 1e6:.1f} million numbers",
        f"features {', '.join(str(width) for width in config.channels)} from {config.const_size[0]} px up"
        if hasattr(config, "const_size") else "",
        f"{generator.label_dim} classes" if generator.label_dim else "no classes",
    ]  # fmt: skip
    tracked = bool(network.mapping.w_avg.abs().max() > 0)
    lines.append(f"mean of W: {'tracked in the file' if tracked else 'not in the file, taken of 8,192 samples'}")
    strengths = [tensor.abs().max() for name, tensor in network.named_parameters() if name.endswith("noise_strength")]
    if strengths:
        largest = float(torch.stack([strength.float().cpu() for strength in strengths]).max())
        lines.append(f"noise: constant maps of the file, strengths up to {largest:.3g}")
    for name, words in (("resample_filter", "low-pass"), ("conv_clamp", "clamp of features")):
        if getattr(config, name, None) is not None:
            lines.append(f"{words}: {_plain(getattr(config, name))}")
    lines.append(f"layers that look freshly drawn: {share:.0%} (random weights: {LOOKS_RANDOM:.0%} and more)")
    return lines


def _plain(setting: object) -> str:
    return ", ".join(f"{entry:g}" for entry in setting) if isinstance(setting, tuple) else f"{setting:g}"


def _sample_sheet(generator: GanGenerator, pictures: Tensor) -> Sheet:
    """Lay out samples, and the picture of the mean code."""
    mean = generator.w_mean.expand(1, generator.num_layers, generator.w_dim)
    mean_picture = to_rgb(generator.synthesize(mean))
    shown = tiles(channels_last(torch.cat([mean_picture, pictures])))
    rows = [shown[1 + k : 1 + k + _PER_ROW] for k in range(0, _SAMPLES, _PER_ROW)]
    rows[-1] = [*rows[-1][:-1], shown[0]]
    return Sheet(f"{_SAMPLES - 1} samples, truncation 1; the last one is the picture of W's mean", contact_sheet(rows))


def _one_edit(generator: GanGenerator, codes: Tensor, pictures: Tensor) -> tuple[list[str], Sheet]:
    """Move the first sample along the first component of W, and bring all to its state (2401.10219, closed form)."""
    method = COMPONENTS[1] if generator.codes_are_noise else COMPONENTS[0]
    step = component_edit(generator, find_components(generator, method), 0)
    direction = step.direction.to(codes)
    edit = record_edit(generator, codes[0], codes[0] + _AMOUNT * direction, name="check")
    strengths = compute_strength(edit, codes)
    edited = apply_edit(codes, edit, strengths)
    after = to_rgb(generator.synthesize(edited))
    change = (after - pictures).abs().mean(dim=(1, 2, 3))
    lines = [
        f"first of {method}, the first picture moved by {_AMOUNT:g} deviations, the others to its state",
        f"strengths {float(strengths.min()):+.1f} to {float(strengths.max()):+.1f} of the example's own",
        f"change of the pictures: {float(change.mean()) / 2:.1%} of black to white on average, "
        f"{float(change.min()) / 2:.1%} to {float(change.max()) / 2:.1%}",
    ]
    sheet = contact_sheet([tiles(channels_last(pictures)), tiles(channels_last(after))], ("before", "after"))
    return lines, Sheet("One edit brought to all: the first picture is the example", sheet)


def _measure_times(generator: GanGenerator, codes: Tensor) -> _Timing:
    """Time a picture, a batch, and a step with a gradient, each once after a first that warms up."""
    device = generator.device
    generator.synthesize(codes[:1])
    _, single = timed(lambda: generator.synthesize(codes[:1]), device)
    lines = [f"a picture {single:.2f} s"]
    if single * _BATCH < _PATIENCE:
        _, batch = timed(lambda: generator.synthesize(codes[:_BATCH]), device)
        lines[0] += f", {_BATCH} at once {batch:.2f} s"
    _, step = timed(lambda: _step(generator, codes[:1]), device)
    lines.append(
        f"a step of optimisation {step:.2f} s: an inversion of {_STEPS} steps {_STEPS * step / 60:.1f} min a photo"
    )
    lines.append(machine(device))
    return _Timing(Times(single, step), tuple(lines))


def _step(generator: GanGenerator, codes: Tensor) -> Tensor:
    """Take one gradient of a finished picture by its code [1, L, D]."""
    with enable_training():
        code = codes.detach().clone().requires_grad_(True)
        picture = generator.network.synthesis(code).image
        return torch.autograd.grad(picture.square().mean(), code)[0]


def _invert(
    generator: GanGenerator, photos: Tensor, steps: int | None, times: Times, progress: Progress
) -> tuple[list[str], Sheet, list[float]]:
    """Invert photos in as many of the default's steps as fit into the time."""
    fitted = fit_to_resolution(generator, photos.to(generator.device))
    fitting = int(_SECONDS / max(times.step * len(fitted), 1e-6))
    steps = steps or max(_FEWEST_STEPS, min(_STEPS, fitting))
    inversion = invert(generator, fitted, steps=steps, progress=progress)
    shortened = "" if steps >= _STEPS else f" of {_STEPS}: more come nearer"
    psnr = inversion.psnr.tolist()
    lines = [f"{steps} steps{shortened}", f"likeness {sum(psnr) / len(psnr):.1f} dB on average"]
    for k, (likeness, distance, where) in enumerate(
        zip(psnr, inversion.distance.tolist(), inversion.where, strict=True), start=1
    ):
        lines.append(f"photo {k}: {likeness:.1f} dB, code {distance:.1f} deviations from the mean; error {where}")
    rows = [tiles(channels_last(images)) for images in (fitted, inversion.images)]
    sheet = Sheet("Photos and their inversions", contact_sheet(rows, ("photo", "drawn")), has_photos=True)
    return lines, sheet, psnr


def _memory(generator: GanGenerator) -> str:
    peak = peak_memory(generator.device)
    return "" if peak is None else f"most memory of this check {peak:.1f} GB"


def _defaults(generator: GanGenerator) -> list[str]:
    """Say what the methods' own choices come to for this network."""
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(k)[1] - 2 * synthesis.margin(k) for k in range(len(synthesis.layers))]
    settings = DragSettings()
    drag = feature_layer(generator, settings.feature_ratio, settings.feature_height)
    lines = [f"Drag Points follows features of {heights[drag]} px (layer {drag})"]
    if generator.network.config.architecture == ALIAS_FREE:
        lines.append("Dissect Concepts, Paint Concept and text edits do not work on a StyleGAN3")
    else:
        paint = middle_layer(generator)
        lines.append(f"Dissect Concepts and Paint Concept take layer {paint} of {heights[paint]} px")
    scored = min((height for height in heights if height >= 224), default=heights[-1])
    if not generator.codes_are_noise and generator.network.config.architecture == "skip" and scored < heights[-1]:
        last = max(layer for layer, height in enumerate(heights) if height <= scored)
        lines.append(
            f"Train Text Edit with a scorer of 224 px scores pictures of {scored} px: rows {last + 1} to "
            f"{generator.num_layers - 1} stay as they are"
        )
    adaptation = 2 * 3 * math.prod(generator.resolution)
    lines.append(f"an adaptation to a photo weighs {adaptation / 1e6:.2g} MB (residual)")
    return lines
