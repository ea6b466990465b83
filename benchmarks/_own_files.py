"""Small good files of this pack's own formats, and folders of models, for `mutate_files` to damage."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from semantic_edit.editing.paint.concepts import ConceptUnits
from semantic_edit.editing.text.edit import TextEdit
from semantic_edit.models.diffusion.folder import load_diffusion
from semantic_edit.models.errors import about_file
from semantic_edit.models.files.adaptation import read_adaptation, write_adaptation
from semantic_edit.models.files.concepts import TENSORS, read_concepts, write_concepts
from semantic_edit.models.files.imagic import read_imagic, write_imagic
from semantic_edit.models.files.latents import embed_latent, extract_latent, read_latent, write_latent
from semantic_edit.models.files.text_edit import read_text_edit, write_text_edit
from semantic_edit.models.gan.adaptation import Adaptation
from semantic_edit.models.gan.text_edit_networks import LatentMapper, LayerAttention
from semantic_edit.models.scorers.scorer import load_scorer

ROOT = Path(__file__).resolve().parents[1]
Sample = tuple[str, bytes, Callable[[Path, Path], object]]


def own_files(folder: Path) -> list[Sample]:
    """What the nodes save, each with what its loader does."""
    made: list[Sample] = []

    def add(path: Path, reader: Callable[[Path], object]) -> None:
        made.append((path.name, path.read_bytes(), lambda changed, target: reader(changed)))
        reader(path)

    rng = torch.Generator().manual_seed(0)
    codes = torch.randn(2, 4, 4, generator=rng)
    add(write_latent(folder / "codes.safetensors", codes, ["a", "b"], "tiny"), read_latent)
    picture = folder / "picture.png"
    Image.new("RGB", (8, 8)).save(picture)
    embed_latent(picture, codes[0], "a", "tiny")
    add(picture, extract_latent)
    adaptation = Adaptation(
        codes, {1: torch.rand(2, 3, 4, 4, generator=rng)}, torch.zeros(2, 3, 8, 8), names=("a", "b")
    )
    add(write_adaptation(folder / "adaptation.safetensors", adaptation), read_adaptation)
    units = {name: torch.rand(2, 3, generator=rng) for name in TENSORS}
    units |= {"top": torch.rand(3, generator=rng), "share": torch.rand(2, generator=rng)}
    concepts = write_concepts(folder / "concepts.safetensors", units, 2, ("hat", "hair"))
    add(concepts, lambda path: _become(ConceptUnits, read_concepts, path))
    values = {
        "prompt": "a hat", "source": "a person", "method": "mapper", "offset": codes[0], "rows": (0, 1),
        "selection": torch.rand(2, 4, generator=rng), "parts": ("hat", "hair"), "threshold": 0.1,
        "mapper": LatentMapper(4, 4, 0.1), "attention": LayerAttention([2, 2, 2]),
    }  # fmt: skip
    edit = write_text_edit(folder / "text_edit.safetensors", values)
    add(edit, lambda path: _become(TextEdit, read_text_edit, path))
    lora = {f"to_q.{part}.weight": torch.randn(shape, generator=rng) for part, shape in
            (("lora_A", (2, 8)), ("lora_B", (8, 2)))}  # fmt: skip
    extras = {"pooled_output": torch.randn(1, 8, generator=rng), "width": 64}
    add(write_imagic(folder / "imagic.safetensors", codes[:1], extras, lora, "a hat", {"key": "x"}), read_imagic)
    return made


def _become(kind: type, read: Callable[[Path], dict], path: Path) -> object:
    """As the nodes do it."""
    with about_file(path):
        return kind(**read(path))


def own_folders(folder: Path) -> list[Sample]:
    """Parts of a diffusers folder and of a scorer's folder; the rest of the folder stays as it was."""
    spec = importlib.util.spec_from_file_location("diffusion_forge", ROOT / "tests" / "diffusion_forge.py")
    forge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(forge)
    made: list[Sample] = []

    def add(top: Path, part: str, reader: Callable[[Path], object]) -> None:
        good = (top / part).read_bytes()

        def read(changed: Path, target: Path) -> object:
            shutil.copy(changed, top / part)
            try:
                return reader(top)
            finally:
                (top / part).write_bytes(good)

        made.append((f"{top.name}_{part.replace('/', '_')}", good, read))
        reader(top)

    pipeline = forge.forge(folder / "pipelines")
    for part in ("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
                 "scheduler/scheduler_config.json", "text_encoder/config.json", "tokenizer/vocab.json",
                 "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"):  # fmt: skip
        if (pipeline / part).is_file():
            add(pipeline, part, load_diffusion)
    scorer = Path(shutil.copytree(ROOT / "models" / "demo" / "scorers" / "demo_portraits", folder / "scorer"))
    for part in ("open_clip_config.json", "open_clip_model.safetensors", "words.txt.gz"):
        add(scorer, part, load_scorer)
    return made
