"""The edit of ``semantic-edit batch`` and ``plan``, as options, and what they make."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from einops import rearrange

from ...editing.one_for_all.attributes import fit_to_generator, with_average_example
from ...editing.one_for_all.strength_modes import MODES
from ...editing.one_for_all.transfer import Transfer
from ...editing.state import MASK_MEASURES
from ...jobs.checkpoints import checkpoint_file, load_networks
from ...jobs.frozen import FrozenJob, freeze
from ...jobs.reader_recipes import ReaderRecipe
from ...jobs.state_transfer import StateTransfer
from ...jobs.stores import is_remote
from ...models.errors import InputError
from ...models.files.direction import read_direction
from ...models.files.picture_reader import FITS, PictureError, read_picture

__all__ = ["BACKGROUNDS", "EDIT_OPTIONS", "add_edit_options", "frozen_job", "make_transfer"]

BACKGROUNDS = {"white": (255, 255, 255), "grey": (128, 128, 128), "black": (0, 0, 0)}
_DEMO = "demo_portraits"
_WHOLE = ("brightness", "red", "green", "blue", "saturation")
_MODES = [mode.replace(" ", "-") for mode in MODES]
# Each with its default.
EDIT_OPTIONS = {
    "direction": None, "generator": _DEMO, "encoder": _DEMO, "steps": 0, "strength": 1.0, "mode": _MODES[0],
    "target": 0.0, "reference": None, "limit": None, "corrections": 0, "fit": FITS[0], "background": "white",
    "codes": False, "state": None, "read_text": None, "read_source": "a photo", "read_example": None, "read_mask": None,
    "scorer": _DEMO, "rounds": 3,
}  # fmt: skip


def add_edit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the edit."""
    about = "the edit: a .safetensors from Save Direction, or the name of a shipped one such as smile"
    parser.add_argument("--direction", metavar="FILE", help=about)
    parser.add_argument("--generator", metavar="FILE", help="a file or an address (default: the demo generator)")
    about = "an encoder for this generator, or 'none' (default: the demo's)"
    parser.add_argument("--encoder", metavar="FILE", help=about)
    about = "inversion steps after the encoder: closer to the picture, and much slower (default: 0)"
    parser.add_argument("--steps", type=int, metavar="N", help=about)
    about = "1: the example's state after its edit; with --mode constant, lengths of the direction (default: 1)"
    parser.add_argument("--strength", type=float, metavar="S", help=about)
    about = "same-state: each picture moves as far as it needs; constant: all equally far; number: to --target"
    parser.add_argument("--mode", choices=_MODES, help=about)
    about = "for --mode number: the state, in standard deviations from the average picture (default: 0)"
    parser.add_argument("--target", type=float, metavar="SIGMA", help=about)
    about = "a picture whose state is the target, instead of the direction's example"
    parser.add_argument("--reference", type=Path, metavar="PICTURE", help=about)
    about = "the farthest any picture may move, in lengths of the direction"
    parser.add_argument("--limit", type=float, metavar="ALPHA", help=about)
    about = "one state by reading pictures: the number that all shall show, in the unit of what reads (one --read-...)"
    parser.add_argument("--state", type=float, metavar="NUMBER", help=about)
    about = "read how well a picture fits this sentence, in hundredths of a cosine"
    parser.add_argument("--read-text", metavar="SENTENCE", help=about)
    about = "for --read-text: what the pictures are without it (default: a photo)"
    parser.add_argument("--read-source", metavar="SENTENCE", help=about)
    about = "read by an edited example, 0 before and 1 after its edit, which is the state where --state is left out"
    parser.add_argument("--read-example", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help=about)
    about = "read a number of the whole picture"
    parser.add_argument("--read-mask", choices=[name for name in MASK_MEASURES if name in _WHOLE], help=about)
    about = "an open_clip model for --read-text and --read-example (default: the demo's)"
    parser.add_argument("--scorer", metavar="FILE", help=about)
    about = "with --state: draw, read and correct each picture so often at most (default: 3)"
    parser.add_argument("--rounds", type=int, metavar="N", help=about)
    about = "draw, measure and adjust each picture so often before its strength is final (default: 0)"
    parser.add_argument("--corrections", type=int, metavar="N", help=about)
    parser.add_argument("--fit", choices=FITS, help="how other shapes are fitted (default: crop)")
    about = "behind transparent pixels and in borders (default: white)"
    parser.add_argument("--background", choices=list(BACKGROUNDS), help=about)
    parser.add_argument("--codes", action="store_true", help="also keep each picture's code, as a file")
    parser.set_defaults(**EDIT_OPTIONS)


def make_transfer(options: argparse.Namespace, device: torch.device) -> Transfer:
    """Read all files that the options name.

    Raises:
        InputError: an option out of its range, options that exclude each other, or a file that cannot be used.
    """
    if options.limit is not None and options.limit <= 0:
        raise InputError(f"--limit is {options.limit:g}; expected a number above 0. Leave it out for no limit.")
    generator, encoder = load_networks(options.generator, options.encoder, device)
    with checkpoint_file(options.direction, "directions") as path:
        fields = read_direction(path)
    direction = with_average_example(generator, fit_to_generator(generator, **fields))
    if direction.note and options.mode == "same-state" and options.reference is None:
        sys.stdout.write(f"{direction.note}\n")
    reference = None
    if options.reference:
        encoding = Transfer(generator, direction, encoder, mode="constant", steps=options.steps)
        reference = _reference_code(encoding, options)
    settings = (
        generator, direction, encoder, options.strength, options.mode.replace("-", " "), options.target, reference,
        options.limit, options.steps, options.corrections,
    )  # fmt: skip
    recipe = _recipe(options, generator.resolution)
    if recipe is None:
        return Transfer(*settings)
    reader, state = recipe.make(device), options.state
    if state is None:
        if reader.target is None:
            raise InputError("--state is missing: the number that all pictures shall show, as the reader reads it.")
        state = float(reader.target[0])
    return StateTransfer(*settings, reader=reader, state=state, rounds=options.rounds, recipe=recipe)


def _recipe(options: argparse.Namespace, size: tuple[int, int]) -> ReaderRecipe | None:
    """Describe the reader that the options ask for; None without one.

    Raises:
        InputError: several, a state without a reader, or files that cannot be used.
    """
    names = [name for name in ("read_text", "read_example", "read_mask") if getattr(options, name)]
    if len(names) > 1:
        raise InputError("Several --read-... options came; one state needs one of them.")
    if not names:
        if options.state is not None:
            raise InputError(
                "--state is a number that a reader reads: give --read-text, --read-example or --read-mask."
            )
        return None
    if options.rounds < 0:
        raise InputError(f"--rounds is {options.rounds}; expected 0 or more.")
    if options.read_mask:
        return ReaderRecipe("mask", options.read_mask)
    scorer = _absolute(options.scorer)
    if options.read_text:
        return ReaderRecipe("text", options.read_text, options.read_source, scorer)
    before, after = (_picture(file, size, options).contiguous() for file in options.read_example)
    return ReaderRecipe("example", scorer=scorer, before=before, after=after)


def _picture(file: Path, size: tuple[int, int], options: argparse.Namespace) -> torch.Tensor:
    """Read a picture [1, 3, H, W] in -1..1, fitted as those of the folder."""
    try:
        colours, _ = read_picture(file, size, options.fit, BACKGROUNDS[options.background])
    except PictureError as error:
        raise InputError(f"The picture {file} cannot be used: {error}.") from None
    return rearrange(colours, "h w c -> 1 c h w").mul(2).sub(1)


def frozen_job(options: argparse.Namespace, device: torch.device) -> FrozenJob:
    """Freeze the edit that the options describe, for the pictures that they name."""
    transfer = make_transfer(options, device)
    checkpoints = (_absolute(options.generator), _absolute(options.encoder))
    background = BACKGROUNDS[options.background]
    source = options.folder if is_remote(options.folder) else str(Path(options.folder).resolve())
    return freeze(transfer, source, *checkpoints, options.fit, background, options.codes)


def _absolute(name: str) -> str:
    """Return the path of a file from anywhere; addresses and names of shipped files are that already."""
    return name if is_remote(name) or not Path(name).exists() else str(Path(name).resolve())


def _reference_code(transfer: Transfer, options: argparse.Namespace) -> torch.Tensor:
    """Return the code [1, L, D] of the reference picture, encoded as those of the folder will be."""
    if options.mode != "same-state" or options.strength != 1.0:
        raise InputError(
            "--reference is the state that all pictures reach; it does not go together with --mode or --strength. "
            "Leave one of them out."
        )
    size, background = transfer.generator.resolution, BACKGROUNDS[options.background]
    try:
        colours, _ = read_picture(options.reference, size, options.fit, background)
    except PictureError as error:
        raise InputError(f"The reference {options.reference} cannot be used: {error}.") from None
    with torch.no_grad():
        return transfer.encode(rearrange(colours, "h w c -> 1 c h w").mul(2).sub(1))
