"""Training of the demo diffusion model: a Stable Diffusion 1.x of the portrait world, as small as it goes.

First the autoencoder at 64 pixels, then the text encoder, then the denoiser on latents that are made once, and last the
autoencoder's step to 128 pixels, round the same latents. The folder is one that StableDiffusionPipeline opens.
Where OUT/start holds such a folder already, ``sharpening`` goes on from it instead.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...demo.portraits.factors import factors_from_z
from ...demo.portraits.render import render
from ...models.checkpoint import read_safetensors, write_safetensors
from ...models.loading.libraries import import_diffusers, import_transformers
from ...models.loading.torchvision_stubs import allow_declaring
from .common import TrainingRun, sample_z
from .diffusion_growth import polish_decoder, train_outer
from .diffusion_network import SCHEDULE, DenoiserTraining
from .diffusion_pictures import INNER_SIZE, encode_latents, train_inner
from .diffusion_text import random_description, train_text, write_tokenizer
from .generator import feature_reader
from .sentences import portrait_phrases
from .sharpening.diffusion import START, sharpen_diffusion

FOLDER = "demo_portraits"
SIZE = 128  # pixels


@dataclass(frozen=True)
class Lengths:
    """Training lengths of the parts."""

    portraits: int  # latents made for the denoiser
    pictures: int  # steps of the autoencoder, batches of 8
    text: int  # steps of the text encoder, batches of 48
    denoiser: int  # steps of the denoiser, batches of 32
    growth: int  # steps of the autoencoder's last level, batches of 8
    polish: int  # steps of its whole decoder, batches of 8


LENGTHS = Lengths(10000, 900, 600, 2900, 350, 250)
_SMOKE = Lengths(48, 2, 2, 2, 2, 2)


def train_diffusion(run: TrainingRun) -> None:
    """Train all parts; each that is finished is saved, so that ``--resume`` goes on with the next.

    Where OUT/start is a model already, its autoencoder and denoiser are sharpened.
    """
    allow_declaring()
    torch.manual_seed(run.seed)
    if (run.out / START).is_dir():
        sharpen_diffusion(run, feature_reader(run), run.out / FOLDER)
        return
    rng = torch.Generator().manual_seed(run.seed)
    lengths = _SMOKE if run.smoke else LENGTHS
    writer = PipelineWriter(run, lengths)
    reader = feature_reader(run)
    vae = train_inner(run, reader, lengths.pictures)
    factors = factors_from_z(sample_z(lengths.portraits, rng))
    attributes = portrait_phrases(factors)
    tokenizer_folder = run.out / "tokenizer"
    words = _words(attributes, rng)
    write_tokenizer(tokenizer_folder, words)
    tokenizer = import_transformers().CLIPTokenizer.from_pretrained(str(tokenizer_folder), local_files_only=True)
    text = train_text(run, tokenizer, attributes, lengths.text)
    latents = _latents(run, vae, factors)
    training = DenoiserTraining(run, text, tokenizer)

    def save(unet: nn.Module) -> None:
        writer.save(vae, text, tokenizer, words, unet)

    unet = training.train(latents, attributes, lengths.denoiser, save)
    outer = train_outer(run, vae, reader, lengths.growth, SIZE)
    writer.save(polish_decoder(run, outer, reader, lengths.polish, SIZE), text, tokenizer, words, unet)
    run.say(f"wrote {FOLDER} after {run.seconds():.0f} s")


@dataclass(frozen=True)
class PipelineWriter:
    """Writes the folder of the whole pipeline."""

    run: TrainingRun
    lengths: Lengths

    def save(self, vae: nn.Module, text: nn.Module, tokenizer, words: set[str], unet: nn.Module) -> None:
        """Write the pipeline in half precision, and its provenance; ``words`` are the tokenizer's."""
        diffusers, folder = import_diffusers(), self.run.out / FOLDER
        halves = {k: copy.deepcopy(v).half() for k, v in (("vae", vae), ("text_encoder", text), ("unet", unet))}
        diffusers.StableDiffusionPipeline(
            **halves,
            tokenizer=tokenizer,
            scheduler=diffusers.DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder, safe_serialization=True)
        write_tokenizer(folder / "tokenizer", words)  # the form that every version of transformers reads
        (folder / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
        _make_portable(folder / "text_encoder")
        provenance = self.run.provenance(lengths=vars(self.lengths))
        (folder / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n", encoding="utf-8")
        for path in folder.rglob("*.safetensors"):
            path.chmod(0o644)  # the library makes it private


def _make_portable(folder: Path) -> None:
    """Rename tensors as transformers wrote them before version 5, which older programs look for.

    And have them loaded as float32, like the other networks, whatever the file holds.
    """
    path = folder / "model.safetensors"
    tensors = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n", encoding="utf-8")


def _latents(run: TrainingRun, vae: nn.Module, factors: Tensor) -> Tensor:
    """Encode the portraits of factors ``[N, K]`` to latents ``[N, 4, 16, 16]``, once."""
    path = run.out / "latents.safetensors"
    if run.resume and path.is_file():
        return read_safetensors(path, "training")[0]["latents"]
    latents = encode_latents(vae, _renders(factors))
    write_safetensors(path, {"latents": latents}, "training")
    run.say(f"latents of {len(latents)} portraits, deviation {latents.std((0, 2, 3)).tolist()}, {run.seconds():.0f} s")
    return latents


def _renders(factors: Tensor) -> Iterator[Tensor]:
    for chunk in factors.split(64):
        yield render(chunk, INNER_SIZE).images


def _words(attributes: list[dict[str, str]], rng: torch.Generator) -> set[str]:
    """Collect the words of letters, and marks, of many sentences."""
    text = " ".join(random_description(portrait, rng, strange=0.0).text for portrait in attributes for _ in range(2))
    return set(text.replace(",", " , ").split())
