"""The demo diffusion model: a Stable Diffusion 1.x of the portrait world, as small as it goes.

First the autoencoder at 64 pixels, then the text encoder, then the denoiser on latents that are made once, and last the
autoencoder's step to 128 pixels, round the same latents. The folder is one that StableDiffusionPipeline opens.
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
from .common import Job, sample_z
from .diffusion_growth import polish_decoder, train_outer
from .diffusion_network import SCHEDULE, DenoiserTraining
from .diffusion_pictures import INNER_SIZE, codes, train_inner
from .diffusion_text import described, train_text, write_tokenizer
from .generator import features
from .sentences import spoken_of

FOLDER = "demo_portraits"
SIZE = 128  # pixels


@dataclass(frozen=True)
class Lengths:
    """How long each part is trained."""

    portraits: int  # latents made for the denoiser
    pictures: int  # steps of the autoencoder, batches of 8
    text: int  # steps of the text encoder, batches of 48
    denoiser: int  # steps of the denoiser, batches of 32
    growth: int  # steps of the autoencoder's last level, batches of 8
    polish: int  # steps of its whole decoder, batches of 8


LENGTHS = Lengths(10000, 900, 600, 2900, 350, 250)
_SMOKE = Lengths(48, 2, 2, 2, 2, 2)


def train_diffusion(job: Job) -> None:
    """All parts; each that is finished is kept, so that ``--resume`` goes on with the next."""
    allow_declaring()
    torch.manual_seed(job.seed)
    rng = torch.Generator().manual_seed(job.seed)
    lengths = _SMOKE if job.smoke else LENGTHS
    work = Work(job, lengths)
    reader = features(job)
    vae = train_inner(job, reader, lengths.pictures)
    factors = factors_from_z(sample_z(lengths.portraits, rng))
    known = spoken_of(factors)
    tokenizer_folder = job.out / "tokenizer"
    words = _words(known, rng)
    write_tokenizer(tokenizer_folder, words)
    tokenizer = import_transformers().CLIPTokenizer.from_pretrained(str(tokenizer_folder), local_files_only=True)
    text = train_text(job, tokenizer, known, lengths.text)
    latents = _latents(job, vae, factors)
    training = DenoiserTraining(job, text, tokenizer)
    unet = training.train(latents, known, lengths.denoiser, lambda unet: work.save(vae, text, tokenizer, words, unet))
    outer = train_outer(job, vae, reader, lengths.growth, SIZE)
    work.save(polish_decoder(job, outer, reader, lengths.polish, SIZE), text, tokenizer, words, unet)
    job.say(f"wrote {FOLDER} after {job.seconds():.0f} s")


@dataclass(frozen=True)
class Work:
    """Where the model goes."""

    job: Job
    lengths: Lengths

    def save(self, vae: nn.Module, text: nn.Module, tokenizer, words: set[str], unet: nn.Module) -> None:
        """The whole pipeline in half precision, and how it was made."""
        diffusers, folder = import_diffusers(), self.job.out / FOLDER
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
        _read_by_all(folder / "text_encoder")
        made = self.job.provenance(lengths=vars(self.lengths))
        (folder / "provenance.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        for path in folder.rglob("*.safetensors"):
            path.chmod(0o644)  # the library makes it private


def _read_by_all(folder: Path) -> None:
    """Names as transformers wrote them before version 5, which older programs look for; and float32 once loaded, like
    the other networks, whatever the file holds."""
    path = folder / "model.safetensors"
    tensors = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n", encoding="utf-8")


def _latents(job: Job, vae: nn.Module, factors: Tensor) -> Tensor:
    """Latents of portraits, made once."""
    path = job.out / "latents.safetensors"
    if job.resume and path.is_file():
        return read_safetensors(path, "training")[0]["latents"]
    latents = codes(vae, _painted(factors))
    write_safetensors(path, {"latents": latents}, "training")
    job.say(f"latents of {len(latents)} portraits, deviation {latents.std((0, 2, 3)).tolist()}, {job.seconds():.0f} s")
    return latents


def _painted(factors: Tensor) -> Iterator[Tensor]:
    for part in factors.split(64):
        yield render(part, INNER_SIZE).images


def _words(known: list[dict[str, str]], rng: torch.Generator) -> set[str]:
    """Words of letters, and marks, of many sentences."""
    said = " ".join(described(entry, rng, strange=0.0).text for entry in known for _ in range(2))
    return set(said.replace(",", " , ").split())
