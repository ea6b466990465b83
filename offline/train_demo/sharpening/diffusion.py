"""Sharpening of a whole demo diffusion model: its autoencoder at full size, then its denoiser on the new latents.

The text encoder and the vocabulary stay.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ....demo.portraits.render import render
from ....demo.readers import PortraitReader
from ....models.checkpoint import read_safetensors, write_safetensors
from ....models.diffusion.folder import load_diffusion
from ..common import TrainingRun
from ..data_parallel import ThreadedDataParallel
from ..diffusion_pictures import encode_latents
from ..sentences import portrait_phrases
from .autoencoder import SIZE, AutoencoderPhase, sharpen_autoencoder
from .denoiser import DenoiserPhase, factors_with_hats, sharpen_denoiser

START = "start"
_AT_ONCE = 32  # portraits painted and encoded at a time
_WEIGHTS = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class DiffusionPhases:
    """The two parts of the sharpening."""

    autoencoder: AutoencoderPhase
    denoiser: DenoiserPhase


PHASES = DiffusionPhases(AutoencoderPhase(30.0), DenoiserPhase(30.0, 12000))
_SMOKE = DiffusionPhases(AutoencoderPhase(1.0, steps=2), DenoiserPhase(1.0, 16, steps=2))


def sharpen_diffusion(run: TrainingRun, reader: PortraitReader, folder: Path) -> None:
    """Go on from the diffusers folder OUT/start and write ``folder``; ``--resume`` takes up what is begun."""
    phases = _SMOKE if run.smoke else PHASES
    parallel = ThreadedDataParallel(torch.get_num_threads())
    start = load_diffusion(run.out / START)
    tower = start.clip.towers[0]
    if not folder.is_dir():
        shutil.copytree(run.out / START, folder)
    vae = sharpen_autoencoder(run, start.vae.network, reader, phases.autoencoder, parallel)
    write_network(folder / "vae", vae)
    factors = factors_with_hats(phases.denoiser.portraits, torch.Generator().manual_seed(run.seed))
    latents = _latents(run, vae, factors, parallel)

    def save(unet: nn.Module) -> None:
        write_network(folder / "unet", unet)

    attributes = portrait_phrases(factors)
    unet = sharpen_denoiser(
        run, start.model.network, tower.network, tower.tokenizer, latents, attributes, phases.denoiser, parallel, save
    )
    write_network(folder / "unet", unet)
    before = json.loads((run.out / START / "provenance.json").read_text(encoding="utf-8"))
    provenance = run.provenance(phases=asdict(phases), started_from=before)
    (folder / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n", encoding="utf-8")
    run.say(f"wrote {folder.name} after {run.seconds():.0f} s")


def write_network(folder: Path, network: nn.Module) -> None:
    """Replace the weights in a network's diffusers folder, in half precision."""
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / _WEIGHTS, {"format": "pt"})
    (folder / _WEIGHTS).chmod(0o644)  # the library makes it private


def _latents(run: TrainingRun, vae: nn.Module, factors: Tensor, parallel: ThreadedDataParallel) -> Tensor:
    """Encode the portraits of factors ``[N, K]`` to latents ``[N, 4, 16, 16]``, once."""
    path = run.out / "latents_sharp.safetensors"
    if run.resume and path.is_file():
        return read_safetensors(path, "training")[0]["latents"]
    chunks = factors.split(_AT_ONCE)
    latents = torch.cat(parallel.map(lambda chunk: encode_latents(vae, [render(chunk, SIZE).images]), chunks))
    write_safetensors(path, {"latents": latents}, "training")
    run.say(f"latents of {len(latents)} portraits, deviation {latents.std((0, 2, 3)).tolist()}, {run.seconds():.0f} s")
    return latents
