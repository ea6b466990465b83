"""The command ``semantic-edit``: run workflows, edit folders, convert and inspect checkpoints, the demo."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from PIL import Image

from ...models.errors import InputError
from ...models.printable import encodable, printable_lines, write_line
from ..errors import WorkflowError
from .batch import add_command as add_batch
from .check import add_command as add_check
from .plan import add_commands as add_plan

USAGE_ERROR, STOPPED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 when something was wrong, 130 when stopped."""
    parser = _parser()
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our own limit is a sentence
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, handlers=[handler])
    try:
        options.command(options)
    except InputError as error:
        return _fail(error, options)
    except KeyboardInterrupt:
        write_line(sys.stderr, "Stopped.")
        return STOPPED
    except BrokenPipeError:
        return 0
    except Exception as error:  # a mistake of ours, but a traceback helps only those who ask for it
        return _fail(error, options)
    return 0


class _Parser(argparse.ArgumentParser):
    """Ends with a printable message: arguments may be names of foreign files, as a shell's * gives them."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        if message:
            write_line(sys.stderr, message.rstrip("\n"))
        sys.exit(status)


class _PrintableFormatter(logging.Formatter):
    """Makes the lines of every library printable, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return encodable(printable_lines(super().format(record)), sys.stderr)


def _fail(error: Exception, options: argparse.Namespace) -> int:
    if options.verbose:
        logging.getLogger(__name__).exception("The cause:")
    if isinstance(error, InputError):
        message = "\n".join(error.problems if isinstance(error, WorkflowError) else [str(error)])
    else:
        message = f"{type(error).__name__}: {' '.join(str(error).split())} (--verbose shows where)"
    write_line(sys.stderr, message.rstrip())
    return USAGE_ERROR


def _say(text: str) -> None:
    write_line(sys.stdout, text)


def _run(options: argparse.Namespace) -> None:
    from ..workflow.document import read_document

    document = read_document(options.workflow)
    if options.server:
        run_on_server = _from_checkout("...offline.server").run_on_server
        for path in run_on_server(options.server, document, options.set, options.input, options.output, _say):
            _say(str(path))
        return
    from ..host.headless_host import HeadlessSettings, use_headless
    from ..run.catalog import describe
    from ..run.runner import Runner
    from ..workflow.assign import assign

    settings = HeadlessSettings(output=options.output, device=options.device)
    for name in ("input", "models"):
        folder = getattr(options, name)
        if folder is not None and not folder.is_dir():
            raise WorkflowError(f"The {name} folder {folder} does not exist.")
        setattr(settings, name, folder or getattr(settings, name))
    backend = use_headless(settings)
    runner = Runner(backend)
    prompt = runner.prepare(document)
    assign(prompt, options.set, describe(runner.nodes))
    result = runner.run(prompt)
    for node_id, payload in result.ui.items():
        for image in payload.get("images", ()):
            root = {"output": backend.output_directory(), "temp": backend.temp_directory()}.get(image["type"])
            if root is not None:
                _say(str(root / image["subfolder"] / image["filename"]))
        for text in payload.get("text", ()):
            _say(f"{prompt.title(node_id)}: {text}")


def _from_checkout(module: str) -> ModuleType:
    """Import a module that ComfyUI's registry does not get: what uses the network."""
    name = importlib.util.resolve_name(module, __package__)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(error.name or "."):
            raise
        raise InputError(
            "This command is left out of the pack that ComfyUI's registry installs: "
            "install the project from its repository to use it."
        ) from None


def _convert(options: argparse.Namespace) -> None:
    from ...models.convert import convert_file

    convert_file(options.source, options.destination, _say, options.overwrite, options.component)


def _info(options: argparse.Namespace) -> None:
    from ...models.files.describe import describe_file

    _say(describe_file(options.file))


def _demo(options: argparse.Namespace) -> None:
    from .demo import main as demo

    demo(options)


def _nodes(options: argparse.Namespace) -> None:
    from ..host.headless_host import use_headless
    from ..run.catalog import core_nodes, installed_nodes

    use_headless()
    core = set(core_nodes())
    listed = [(node.GET_SCHEMA(), node) for node in installed_nodes().values()]
    for schema, node in sorted(listed, key=lambda pair: (pair[0].node_id in core, pair[0].category, pair[0].node_id)):
        text = schema.description or (node.__doc__ or "").strip()
        _say(f"{schema.node_id:34} {schema.category:24} {text.splitlines()[0] if text else ''}".rstrip())


def _component(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="semantic-edit", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--verbose", action="store_true", help="say more, and show where an error came from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", parents=[common], help="run a workflow file")
    run.set_defaults(command=_run)
    run.add_argument("workflow", type=Path, help="a .json saved by ComfyUI, or a picture with its workflow inside")
    about_set = "change a value of the workflow; NODE is an id, a title or a type"
    run.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help=about_set)
    run.add_argument("--input", type=Path, help="folder of the pictures that the workflow loads (default: input)")
    run.add_argument("--output", type=Path, default=Path("output"), help="folder for the results (default: output)")
    run.add_argument("--models", type=Path, help="ComfyUI's models folder (default: models)")
    run.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    run.add_argument("--server", metavar="URL", help="run it on this ComfyUI instead, such as http://127.0.0.1:8188")

    convert = commands.add_parser("convert", parents=[common], help="turn a .pkl, .pt, .pth or .npy into safetensors")
    convert.set_defaults(command=_convert)
    convert.add_argument("source", type=Path)
    convert.add_argument("destination", type=Path, help="the .safetensors to write")
    convert.add_argument("--overwrite", action="store_true", help="replace the destination if it exists")
    about_component = "which one of a file with several directions (default: the first, 0); 'encoder' or 'generator' "
    about_component += (
        "of a file with both; 'identity', 'perceptual' or 'segmenter' where only such a network will do; 'latents' or "
    )
    about_component += "'direction' of an array that may be either"
    convert.add_argument("--component", type=_component, metavar="N", help=about_component)

    info = commands.add_parser("info", parents=[common], help="say what a .safetensors file holds")
    info.set_defaults(command=_info)
    info.add_argument("file", type=Path)

    demo = commands.add_parser("demo", parents=[common], help="edit a batch of portraits from the embedded demo")
    demo.set_defaults(command=_demo)
    demo.add_argument("--output", type=Path, default=Path("output"), help="folder for the results (default: output)")
    demo.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")

    add_check(commands, common)
    add_batch(commands, common)
    add_plan(commands, common)

    nodes = commands.add_parser("nodes", parents=[common], help="list the nodes that workflows may use here")
    nodes.set_defaults(command=_nodes)
    return parser


if __name__ == "__main__":
    sys.exit(main())
