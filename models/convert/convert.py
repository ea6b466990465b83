"""Conversion (`semantic-edit convert`): another project's checkpoint, direction or codes in, a file of ours out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..encoders.encoder import save_encoder
from ..errors import CheckpointError
from ..files.direction import write_direction
from ..files.latents import write_latent
from ..gan.generator import Network, family_fingerprint, save_generator
from ..losses.files import save_loss
from ..printable import printable
from ..segmenters.files import save_segmenter
from .appearance import describe_content
from .arrays import DIRECTION, LATENTS, find_arrays
from .assemble import GeneratorWeights, build_generator
from .codes import ForeignCodes
from .containers import OpenedFile, open_file
from .directions import BOUNDARY, ForeignDirections, choose_direction
from .irse import EncoderWeights, build_encoder, find_encoder, holds_encoder
from .losses import IDENTITY, PERCEPTUAL, LossWeights, build_loss, find_loss
from .nvlabs import find_nvlabs
from .progressive import ProgressiveWeights, build_progressive, find_progressive
from .rosinality import find_rosinality
from .segmenters import SEGMENTER, SegmenterWeights, build_segmenter, find_segmenter
from .stylegan3 import StyleGAN3Weights, build_stylegan3, find_stylegan3
from .tensorflow import find_tensorflow

Say = Callable[[str], None]
NetworkWeights = GeneratorWeights | StyleGAN3Weights | ProgressiveWeights
_NETWORKS = ("encoder", "generator", IDENTITY, PERCEPTUAL, SEGMENTER)


def convert_file(
    source: str | Path,
    destination: str | Path,
    say: Say,
    overwrite: bool = False,
    component: int | str | None = None,
) -> Path:
    """Read a checkpoint, a direction or codes and write it as the pack's safetensors. Nothing in the file is executed.

    Args:
        source: NVlabs .pkl, legacy TensorFlow .pkl, rosinality .pt, a whole-module .pt, a Progressive GAN (.pth, or the
            original .pkl), a StyleGAN3, an encoder (e4e, pSp), a face recogniser, VGG16 or LPIPS, a direction or codes
            (.pt, .npy, .npz). What it is shows in its bytes, not in its name.
        destination: a name that ends in .safetensors.
        say: called with sentences for the user.
        overwrite: replace an existing destination.
        component: which one, of a file with several directions; "encoder" or "generator" of a file with both (the
            generator unless told otherwise); "identity", "perceptual" or "segmenter" where only such a network will do;
            "latents" or "direction" for an array that may be either.

    Returns:
        The destination. It appears whole or, on any error, not at all.

    Raises:
        CheckpointError: a sentence that names the file and says what is wrong, or what was refused.
        StorageError: the disk is full or refuses.
        TakenError: a file got the destination's name meanwhile, and it is not to be replaced.
    """
    source, destination = Path(source), Path(destination)
    _check_paths(source, destination, overwrite)
    try:
        opened = open_file(source)
        content = identify(opened, component)
        if isinstance(content, EncoderWeights):
            return _write_encoder(source, destination, content, say, not overwrite)
        if isinstance(content, SegmenterWeights):
            return _write_segmenter(source, destination, content, say, not overwrite)
        if isinstance(content, LossWeights):
            return _write_loss(source, destination, content, say, not overwrite)
        if isinstance(content, GeneratorWeights):
            if component is None and holds_encoder(opened.content):
                content.notes.append("the file holds an encoder, too; --component encoder writes that one")
            return _write_generator(source, destination, build_generator(content), content, say, not overwrite)
        if isinstance(content, StyleGAN3Weights):
            return _write_generator(source, destination, build_stylegan3(content), content, say, not overwrite)
        if isinstance(content, ProgressiveWeights):
            return _write_generator(source, destination, build_progressive(content), content, say, not overwrite)
        if isinstance(content, ForeignCodes):
            return _write_codes(source, destination, content, say, not overwrite)
        number = component if isinstance(component, int) else None
        return _write_direction(source, destination, content, say, not overwrite, number)
    except CheckpointError as problem:
        sentence = printable(_sentence(str(problem)))
        raise CheckpointError(f"{source.name} {sentence}. Nothing was written.") from None
    except OSError as problem:
        raise CheckpointError(f"{destination.name} could not be written: {problem.strerror or problem}.") from None


def _sentence(problem: str) -> str:
    """Turn a reader's problem into a sentence that begins with the file's name, put in front by the caller.

    Readers say "is empty", "holds ..." or name a tensor ("synthesis.b4.const: ...").
    """
    problem = problem.rstrip(".")
    if problem.startswith("refused"):
        return f"was {problem}"
    if problem.startswith(("truncated", "damaged")):
        return f"is {problem}"
    verb = re.match(r"(is|has|holds|lacks|was|uses|cannot)\b", problem)
    return problem if verb else f"cannot be converted: {problem}"


def _check_paths(source: Path, destination: Path, overwrite: bool) -> None:
    if source.is_dir():
        raise CheckpointError(f"{source.name} is a folder; expected a checkpoint or a direction file.")
    if not source.is_file():
        raise CheckpointError(f"{source.name} does not exist; expected a checkpoint or a direction file.")
    if destination.suffix != ".safetensors":
        raise CheckpointError(f"{destination.name} should end in .safetensors, the only format that is written.")
    if destination.is_dir():
        raise CheckpointError(f"{destination.name} is a folder; name a file in it.")
    if destination.exists() and destination.samefile(source):
        raise CheckpointError(f"{source.name} cannot be converted onto itself; choose another destination.")
    if destination.exists() and not overwrite:
        raise CheckpointError(f"{destination.name} exists already; choose another name or add --overwrite.")
    if not destination.parent.is_dir():
        raise CheckpointError(f"The folder of {destination.name} does not exist: {destination.parent}.")


def identify(
    opened: OpenedFile, component: int | str | None = None
) -> NetworkWeights | EncoderWeights | LossWeights | SegmenterWeights | ForeignDirections | ForeignCodes:
    """Recognise a file's content.

    Args:
        opened: the file, as plain data.
        component: as of `convert_file`.

    Raises:
        CheckpointError: when it is nothing that is read, may be two things, or lacks the component.
    """
    content = opened.content
    if isinstance(component, str) and component not in (*_NETWORKS, LATENTS, DIRECTION):
        choices = ", ".join((*_NETWORKS, LATENTS, DIRECTION))
        raise CheckpointError(f"has no component {component[:40]!r}; choose {choices}, or a number")
    if opened.kind not in ("npy", "npz") and (component is None or component in _NETWORKS):
        generator = None
        if component in (None, "generator"):
            generator = find_progressive(content) or find_tensorflow(content) or find_stylegan3(content)
            generator = generator or find_nvlabs(content) or find_rosinality(content)
        network = generator
        if network is None and component in (None, IDENTITY, PERCEPTUAL):
            network = find_loss(content)
        if network is None and component in (None, SEGMENTER):
            network = find_segmenter(content)
        if network is None and component in (None, "encoder"):
            network = find_encoder(content)
        if network is not None and (not isinstance(network, LossWeights) or component in (None, network.kind)):
            return network
    if component in _NETWORKS:
        name = f"{component} network" if component in (IDENTITY, PERCEPTUAL) else component
        raise CheckpointError(f"holds {describe_content(content)}, but no {name} of a known layout")
    arrays = find_arrays(content, component, plain_array=opened.kind == "npy")
    if arrays is not None:
        return arrays
    raise CheckpointError(
        f"holds {describe_content(content)}; it is neither a StyleGAN2 generator (NVlabs, TensorFlow or rosinality "
        "layout), nor a StyleGAN3, nor a Progressive GAN, nor an encoder (e4e, pSp), nor a face recogniser "
        "(ArcFace), nor VGG16 or LPIPS, nor a face parser (BiSeNet), nor a direction, nor codes"
    )


def _write_generator(
    source: Path,
    destination: Path,
    network: Network,
    weights: NetworkWeights,
    say: Say,
    exclusive: bool,
) -> Path:
    config = network.config
    family = family_fingerprint(network)
    save_generator(destination, network, _provenance(source, weights), family=family, exclusive=exclusive)
    height, width = config.resolution
    if isinstance(weights, ProgressiveWeights):
        summary = f"Progressive GAN {height}x{width}, {2 * len(config.channels)} layers, z of width {config.z_dim}"
    else:
        labels = f", {config.c_dim} labels" if config.c_dim else ""
        alias_free = isinstance(weights, StyleGAN3Weights)
        summary = "StyleGAN3" if alias_free else "StyleGAN2"
        summary += f" {height}x{width}, {config.num_layers} rows of W+ of width {config.w_dim}, "
        summary += (f"configuration {config.configuration}" if alias_free else config.architecture) + labels
    return _report(source, destination, weights, f"{summary}, family {family}", say)


def _write_encoder(source: Path, destination: Path, weights: EncoderWeights, say: Say, exclusive: bool) -> Path:
    save_encoder(destination, build_encoder(weights), _provenance(source, weights), exclusive)
    config = weights.config
    summary = f"encoder of {config.size[0]}x{config.size[1]} pictures, {config.num_layers} rows of W+ of width "
    summary += f"{config.w_dim}, family {weights.family or 'unknown'}"
    return _report(source, destination, weights, summary, say)


def _write_loss(source: Path, destination: Path, weights: LossWeights, say: Say, exclusive: bool) -> Path:
    network = build_loss(weights)
    save_loss(destination, network, _provenance(source, weights), exclusive)
    if weights.kind == IDENTITY:
        config = network.config
        summary = f"face recogniser of {sum(config.units)} units, faces of {config.size} pixels to {config.embedding} "
        summary += "numbers"
    else:
        summary = f"perceptual network of {len(network.config.channels)} convolutions"
    return _report(source, destination, weights, summary, say)


def _write_segmenter(source: Path, destination: Path, weights: SegmenterWeights, say: Say, exclusive: bool) -> Path:
    save_segmenter(destination, build_segmenter(weights), _provenance(source, weights), exclusive)
    names = weights.config.names
    return _report(source, destination, weights, f"segmenter of {len(names)} parts ({', '.join(names[:4])}, ...)", say)


def _provenance(
    source: Path, weights: NetworkWeights | EncoderWeights | LossWeights | SegmenterWeights
) -> dict[str, object]:
    return {"source": source.name, "layout": weights.layout, "notes": weights.notes}


def _report(
    source: Path,
    destination: Path,
    weights: NetworkWeights | EncoderWeights | LossWeights | SegmenterWeights,
    summary: str,
    say: Say,
) -> Path:
    say(f"{source.name} ({weights.layout}): {summary}.")
    for note in weights.notes:
        say(f"Note: {note}.")
    say(f"Wrote {destination.name}. Nothing in the source was executed.")
    return destination


def _write_direction(
    source: Path, destination: Path, directions: ForeignDirections, say: Say, exclusive: bool, component: int | None
) -> Path:
    direction, index = choose_direction(directions, component)
    several = len(directions.directions) > 1
    name = f"{source.stem} {index}" if several else source.stem
    layout, shape = directions.layout, directions.source_shape
    provenance = {"source": source.name, "layout": layout, "shape": shape, "component": index}
    write_direction(
        destination,
        direction.direction.clone(),
        normal=direction.normal,
        start=direction.start,
        offset=direction.offset,
        method=direction.method,
        name=name,
        provenance=provenance,
        exclusive=exclusive,
    )
    rows, width = direction.direction.shape
    say(f"{source.name}: a direction of width {width} for {'all rows' if rows == 1 else f'{rows} rows'} of W+.")
    if several:
        say(f"It holds {len(directions.directions)}; number {index} was taken. Choose another with --component.")
    if direction.method == BOUNDARY:
        say("It was read as a boundary and is its own normal: state 0 lies on it, 1 is one step beyond.")
        say("A boundary that was fitted in Z means nothing in W; take the one for W.")
    elif direction.start is not None:
        say("One step is one standard deviation; state 0 is the mean, 1 one deviation above it.")
    say("It names no generator family; when it is loaded, its shape is checked and a warning given.")
    say(f"Wrote {destination.name}. Nothing in the source was executed.")
    return destination


def _write_codes(source: Path, destination: Path, codes: ForeignCodes, say: Say, exclusive: bool) -> Path:
    count, rows, width = codes.codes.shape
    names = codes.names or [source.stem if count == 1 else f"{source.stem} #{k + 1}" for k in range(count)]
    provenance = {"source": source.name, "layout": codes.layout, "shape": codes.source_shape}
    write_latent(destination, codes.codes, names, "", provenance, exclusive)
    of = f"{rows} rows of W+ of width {width}" if rows > 1 else f"one row of W of width {width}, for all rows of W+"
    say(f"{source.name} ({codes.layout}): {count} code{'s' if count > 1 else ''} of {of}.")
    say("They name no generator family; their shape is checked when they are used.")
    say(f"Wrote {destination.name}, a file for Load Latents. Nothing in the source was executed.")
    return destination
