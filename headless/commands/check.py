"""``semantic-edit check FILE [PHOTOS ...]``: one page of pictures and numbers about a model of one's own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ...editing.common.figures import as_picture
from ...models.errors import InputError
from ...models.files.atomic import atomic_write
from ...models.files.picture_formats import is_picture_name
from ...models.files.picture_reader import read_picture
from ...models.printable import write_line
from ..host.headless_host import HeadlessSettings, use_headless

_PHOTOS = 4
_QUALITY = 90


def add_command(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add the command and its options."""
    check = commands.add_parser(
        "check", parents=[common], help="measure a generator or diffusers folder: a page of pictures and numbers"
    )
    check.set_defaults(command=main)
    check.add_argument("model", type=Path, help="a generator's .safetensors (see convert), or a diffusers folder")
    check.add_argument("photos", type=Path, nargs="*", help="photos, or a folder of them; the first four count")
    check.add_argument("--output", type=Path, default=Path("output"), help="folder for the page (default: output)")
    check.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    check.add_argument("--seed", type=int, default=0, help="of the samples (default: 0)")


def main(options: argparse.Namespace) -> None:
    """Write <output>/check/page.jpg and report.txt, which show no photo, and photos.jpg with them.

    Raises:
        InputError: no such model or photos.
    """
    from ...jobs.check import check_diffusion, check_generator
    from ...models.diffusion.folder import is_diffusers_folder, load_diffusion

    photos = read_photos(options.photos)
    device = use_headless(HeadlessSettings(output=options.output, device=options.device)).device()
    if options.model.is_dir():
        if not is_diffusers_folder(options.model):
            raise InputError(
                f"'{options.model.name}' is a folder without model_index.json; expected a diffusers folder, or a "
                "generator's .safetensors."
            )
        from ...models.loading.torchvision_stubs import allow_declaring

        allow_declaring()
        bundle = load_diffusion(options.model, device)
        report = check_diffusion(bundle, _same_size(photos), options.seed, _progress)
    else:
        from ...models import load_generator

        if options.model.suffix.lower() != ".safetensors":
            raise InputError(
                f"'{options.model.name}' is no .safetensors; 'semantic-edit convert' makes one of a .pkl, .pt or .pth."
            )
        generator = load_generator(options.model, device=device)
        fitted = _same_size(photos, generator.resolution)
        pictures = None if fitted is None else fitted.movedim(-1, 1) * 2 - 1
        report = check_generator(generator, pictures, options.seed, progress=_progress)
    folder = options.output / "check"
    pages = {"page.jpg": report.page(with_photos=False)}
    if photos:
        pages["photos.jpg"] = report.page()
    for name, page in pages.items():
        with atomic_write(folder / name, make_folder=True) as path:
            as_picture(page).save(path, "JPEG", quality=_QUALITY)
    with atomic_write(folder / "report.txt", make_folder=True) as path:
        path.write_text(report.text() + "\n", encoding="utf-8")
    _say(report.text())
    _say("")
    for name in (*pages, "report.txt"):
        _say(str(folder / name))
    _say(
        "page.jpg and report.txt show nothing of yours but the model." + (" photos.jpg shows photos." if photos else "")
    )


def read_photos(paths: Sequence[Path]) -> list[Tensor]:
    """Read up to four photos [H, W, 3] in 0..1 of files and folders.

    Raises:
        InputError: a path that is neither, or a folder without pictures.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if is_picture_name(entry.name))
            if not inside:
                raise InputError(f"The folder '{path.name}' holds no pictures.")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"There is no photo or folder '{path}'.")
    return [read_picture(file, None)[0] for file in files[:_PHOTOS]]


def _same_size(photos: Sequence[Tensor], size: tuple[int, int] | None = None) -> Tensor | None:
    """Stack photos, cropped to a size or to the first one's: [B, H, W, 3]; None without any."""
    if not photos:
        return None
    height, width = size or photos[0].shape[:2]
    fitted = []
    for photo in photos:
        scale = max(height / photo.shape[0], width / photo.shape[1])
        sides = [max(target, round(side * scale)) for target, side in zip((height, width), photo.shape, strict=False)]
        resized = torch.nn.functional.interpolate(
            photo.movedim(-1, 0)[None], tuple(sides), mode="bilinear", antialias=True, align_corners=False
        )[0]
        top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
        fitted.append(resized[:, top : top + height, left : left + width].movedim(0, -1))
    return torch.stack(fitted)


def _progress(step: int, total: int, preview: Tensor | None = None) -> None:
    if sys.stderr.isatty():
        write_line(sys.stderr, f"checking, {step} of {total}")


def _say(text: str) -> None:
    write_line(sys.stdout, text)
