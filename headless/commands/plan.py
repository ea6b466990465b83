"""``semantic-edit plan``: freeze a job; and ``semantic-edit manifest``: bring a manifest into another form."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...jobs.batch_manifest import MANIFEST_NAMES, convert_manifest
from ...jobs.frozen import write_frozen
from ...jobs.record_tables import FORMS
from ...jobs.stores import open_store
from ...models.errors import InputError
from ...models.printable import write_line
from ..host.headless_host import HeadlessSettings, use_headless
from .batch_options import add_edit_options, frozen_job

__all__ = ["add_commands"]


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add both commands and their options to a parser.

    Args:
        commands: the subcommands that they join.
        common: options of all commands.
    """
    plan = commands.add_parser("plan", parents=[common], help="freeze a job for 'batch', to run it anywhere")
    plan.set_defaults(command=_plan)
    plan.add_argument("folder", metavar="PICTURES", help="the folder or address (s3://...) of the pictures")
    plan.add_argument("--output", type=Path, required=True, metavar="JOB", help="the .safetensors file to write")
    add_edit_options(plan)
    plan.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")

    manifest = commands.add_parser("manifest", parents=[common], help="turn a batch's manifest into another form")
    manifest.set_defaults(command=_manifest)
    manifest.add_argument("folder", metavar="DIR", help="the output folder or address of a batch")
    manifest.add_argument("--to", choices=FORMS, required=True, help="JSON lines, or Parquet")


def _plan(options: argparse.Namespace) -> None:
    """Write a job."""
    if not options.direction:
        raise InputError("--direction is missing: the edit, such as smile, or a .safetensors from Save Direction.")
    backend = use_headless(HeadlessSettings(device=options.device))
    job = frozen_job(options, backend.device())
    write_frozen(options.output, job)
    write_line(sys.stdout, f"{options.output}: {job.direction.name} for {job.source}. Run it: semantic-edit batch JOB")


def _manifest(options: argparse.Namespace) -> None:
    """Convert a manifest in its place."""
    store = open_store(options.folder)
    with store.lock():
        count = convert_manifest(store, options.to)
    write_line(sys.stdout, f"{count} records in {store.address}/{MANIFEST_NAMES[options.to]}")
