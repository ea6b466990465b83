"""``semantic-edit batch``: one edit for every picture of a folder, without a workflow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from einops import rearrange

from ... import host
from ...editing.one_for_all.attributes import fit_to_generator, with_average_example
from ...editing.one_for_all.strength_modes import MODES
from ...editing.one_for_all.transfer import Transfer
from ...jobs import FolderJob, run_job
from ...models import load_generator
from ...models.encoders.encoder import load_encoder
from ...models.errors import InputError
from ...models.files.direction import read_direction
from ...models.files.picture_reader import FITS, PictureError, read_picture
from ...models.printable import write_line
from ..host.headless_host import HeadlessHost, HeadlessSettings, use_headless

BACKGROUNDS = {"white": (255, 255, 255), "grey": (128, 128, 128), "black": (0, 0, 0)}
_DEMO, _NO_ENCODER = "demo_portraits", "none"


def add_command(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add the command and its options to a parser.

    Args:
        commands: the subcommands that it joins.
        common: options of all commands.
    """
    batch = commands.add_parser("batch", parents=[common], help="edit every picture of a folder, however large")
    batch.set_defaults(command=run)
    batch.add_argument("folder", type=Path, help="the folder of the pictures")
    about = "the edit: a .safetensors from Save Direction, or the name of a shipped one such as smile"
    batch.add_argument("--direction", required=True, metavar="FILE", help=about)
    about = "folder for the results: new, or that of the same job, which then goes on where it stopped"
    batch.add_argument("--output", type=Path, required=True, metavar="DIR", help=about)
    batch.add_argument("--generator", metavar="FILE", default=_DEMO, help="default: the demo generator")
    about = "an encoder for this generator, or 'none' (default: the demo's)"
    batch.add_argument("--encoder", metavar="FILE", default=_DEMO, help=about)
    about = "inversion steps after the encoder: closer to the picture, and much slower (default: 0)"
    batch.add_argument("--steps", type=int, default=0, metavar="N", help=about)
    about = "1: the example's state after its edit; with --mode constant, lengths of the direction (default: 1)"
    batch.add_argument("--strength", type=float, default=1.0, metavar="S", help=about)
    about = "same-state: each picture moves as far as it needs; constant: all equally far; number: to --target"
    modes = [mode.replace(" ", "-") for mode in MODES]
    batch.add_argument("--mode", choices=modes, default=modes[0], help=about)
    about = "for --mode number: the state, in standard deviations from the average picture (default: 0)"
    batch.add_argument("--target", type=float, default=0.0, metavar="SIGMA", help=about)
    about = "a picture whose state is the target, instead of the direction's example"
    batch.add_argument("--reference", type=Path, metavar="PICTURE", help=about)
    about = "the farthest any picture may move, in lengths of the direction"
    batch.add_argument("--limit", type=float, metavar="ALPHA", help=about)
    about = "draw, measure and adjust each picture so often before its strength is final (default: 0)"
    batch.add_argument("--corrections", type=int, default=0, metavar="N", help=about)
    batch.add_argument("--fit", choices=FITS, default=FITS[0], help="how other shapes are fitted (default: crop)")
    about = "behind transparent pixels and in borders (default: white)"
    batch.add_argument("--background", choices=list(BACKGROUNDS), default="white", help=about)
    about = "pictures in memory at a time; results do not depend on it (default: chosen by size)"
    batch.add_argument("--chunk", type=int, default=0, metavar="N", help=about)
    batch.add_argument("--count", type=int, default=0, metavar="N", help="finish at most so many pictures this time")
    batch.add_argument("--codes", action="store_true", help="also keep each picture's code, as a file")
    batch.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")


def run(options: argparse.Namespace) -> None:
    """Run the job and print its report."""
    backend = use_headless(HeadlessSettings(output=options.output, device=options.device))
    job = make_job(options, backend)
    bar = backend.settings.bar
    bar.start(options.folder.name, 1, 1)
    try:
        report = run_job(job, backend.progress(0, ""))
    except KeyboardInterrupt:
        write_line(sys.stderr, "\nWhat is finished is kept: the same command goes on from here.")
        raise
    finally:
        bar.clear()
    write_line(sys.stdout, f"{report}\nResults and manifest: {report.output}")


def make_job(options: argparse.Namespace, backend: HeadlessHost) -> FolderJob:
    """Read all files that the options name.

    Raises:
        InputError: an option out of its range, options that exclude each other, or a file that cannot be used.
    """
    if options.limit is not None and options.limit <= 0:
        raise InputError(f"--limit is {options.limit:g}; expected a number above 0. Leave it out for no limit.")
    device = backend.device()
    generator = load_generator(_file(options.generator, "generators"), device)
    encoder = None
    if options.encoder != _NO_ENCODER:
        encoder = load_encoder(_file(options.encoder, "encoders"), device)
    fields = read_direction(_file(options.direction, "directions"))
    direction = with_average_example(generator, fit_to_generator(generator, **fields))
    if direction.note and options.mode == "same-state" and options.reference is None:
        sys.stdout.write(f"{direction.note}\n")
    reference = None
    if options.reference:
        encoding = Transfer(generator, direction, encoder, mode="constant", steps=options.steps)
        reference = _reference_code(encoding, options)
    transfer = Transfer(
        generator,
        direction,
        encoder,
        options.strength,
        options.mode.replace("-", " "),
        options.target,
        reference,
        options.limit,
        options.steps,
        options.corrections,
    )
    return FolderJob(
        options.folder,
        options.output,
        transfer,
        options.fit,
        BACKGROUNDS[options.background],
        options.chunk,
        options.count,
        options.codes,
    )


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


def _file(name: str, kind: str) -> Path:
    """Return a path as typed, or that of a shipped file by its bare name."""
    path = Path(name)
    if path.exists() or path.suffix or path.name != name:
        return path
    folder = host.PACK / "models" / "demo" / kind
    if (folder / f"{name}.safetensors").is_file():
        return folder / f"{name}.safetensors"
    shipped = ", ".join(sorted(file.stem for file in folder.glob("*.safetensors")))
    raise InputError(f"There is neither a file {name!r} nor a shipped one among the {kind}: {shipped}.")
