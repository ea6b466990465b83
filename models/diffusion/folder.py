"""The diffusers folder: Stable Diffusion 1, 2 and SDXL, offline, safetensors only."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint import read_shapes
from ..code_range import finite_number, is_number
from ..errors import InputError
from ..inference import no_inference_mode
from ..loading.config_limits import check_config_limits
from ..loading.libraries import import_diffusers, import_transformers
from ..loading.size_check import check_built_size
from ..loading.torchvision_stubs import allow_declaring
from .model import DiffusionModel, LatentFormat
from .schedule import NoiseSchedule
from .text import TextEncoder, TextTower
from .vae import VAE

__all__ = ["DiffusionBundle", "is_diffusers_folder", "load_diffusion"]

INDEX = "model_index.json"
_UNET, _VAE = "UNet2DConditionModel", "AutoencoderKL"
_MAX_TIMESTEPS = 100_000
_ENCODERS = {"CLIPTextModel", "CLIPTextModelWithProjection"}


@dataclass(frozen=True, eq=False)
class DiffusionBundle:
    """The counterparts of ComfyUI's MODEL, CLIP and VAE."""

    model: DiffusionModel
    clip: TextEncoder
    vae: VAE


def is_diffusers_folder(folder: Path) -> bool:
    """Tell whether a folder says of itself that it holds a diffusers pipeline."""
    return (folder / INDEX).is_file()


def load_diffusion(
    folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> DiffusionBundle:
    """Read a diffusers folder. Nothing is downloaded and no pickle is opened.

    Args:
        folder: with model_index.json, unet, vae, text_encoder, tokenizer and scheduler.
        device: for the networks.
        dtype: the type they compute in; default float32 on the CPU, float16 elsewhere (the VAE always float32).

    Raises:
        InputError: when there is no such folder, it holds another kind of model, a component is missing or damaged or
            has its weights only as pickle, or diffusers and transformers are not installed.
    """
    folder, device = Path(folder), torch.device(device)
    components = _components(folder)
    _check_channels(folder)
    schedule = _schedule(folder)
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.float16)
    allow_declaring()  # ComfyUI loads its models itself: whoever calls this has a program of their own
    diffusers, transformers = import_diffusers(), import_transformers()
    with no_inference_mode():
        unet = _network(diffusers.UNet2DConditionModel, folder, "unet", device, dtype)
        vae = _network(diffusers.AutoencoderKL, folder, "vae", device, torch.float32)
        towers = [
            _tower(transformers, folder, suffix, device, dtype)
            for suffix in ("", "_2")
            if f"text_encoder{suffix}" in components
        ]
    coder = VAE(vae, folder.name)
    latent = LatentFormat(
        channels=coder.latent_channels,
        scale=_factor(vae, "scaling_factor", folder),
        shift=_factor(vae, "shift_factor", folder),
        downscale=coder.downscale_ratio,
    )
    model = DiffusionModel(unet, schedule, latent, folder.name)
    return DiffusionBundle(model, TextEncoder(towers, len(towers) > 1, folder.name), coder)


def _components(folder: Path) -> dict[str, str]:
    """Return component -> class, of those that the index names; refuse what is not a Stable Diffusion."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; expected one with {INDEX}, as diffusers saves a pipeline.")
    index = _json(folder / INDEX)
    components = {name: value[1] for name, value in index.items() if _names_a_class(value)}
    unknown = [
        f"{name} is {components.get(name, 'missing')}"
        for name, known in (("unet", {_UNET}), ("vae", {_VAE}), ("text_encoder", _ENCODERS), ("scheduler", None))
        if name not in components or (known is not None and components[name] not in known)
    ]
    if components.get("text_encoder_2", "CLIPTextModelWithProjection") != "CLIPTextModelWithProjection":
        unknown.append(f"text_encoder_2 is {components['text_encoder_2']}")
    if unknown:
        raise InputError(
            f"The folder {folder.name} holds {index.get('_class_name', 'another model')} ({'; '.join(unknown)}). "
            "Outside ComfyUI only Stable Diffusion 1, 2 and SDXL are read; other models work inside ComfyUI."
        )
    return components


def _check_channels(folder: Path) -> None:
    """Refuse networks that see more than the noisy latent: those of inpainting (9 channels) and pix2pix (8)."""
    files = [folder / name / "config.json" for name in ("unet", "vae")]
    if not all(file.is_file() for file in files):
        return  # what is missing is told by the component that needs it
    unet, vae = (_json(file) for file in files)
    channels, latent = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if type(channels) is not int or type(latent) is not int or channels == latent:
        return  # other values than numbers are told with the rest of the description
    kinds = {2 * latent + 1: "for inpainting", 2 * latent: "for instructions (pix2pix)"}
    kind = kinds.get(channels, "of another kind")
    raise InputError(
        f"The unet of {folder.name} takes {channels} channels where the vae makes {latent}: a model {kind}, which also "
        "needs a second picture. Outside ComfyUI only models that make pictures from text alone are read."
    )


def _schedule(folder: Path) -> NoiseSchedule:
    config = _json(folder / "scheduler" / "scheduler_config.json")
    for name in ("trained_betas", "rescale_betas_zero_snr"):
        if config.get(name):
            raise InputError(f"The scheduler of {folder.name} has {name}, which is not supported outside ComfyUI.")
    first, last = config.get("beta_start", 0.00085), config.get("beta_end", 0.012)
    steps = config.get("num_train_timesteps", 1000)
    if not (is_number(first) and is_number(last) and 0 < first < 1 and 0 < last < 1):
        raise InputError(f"The scheduler of {folder.name} has betas from {first} to {last}; expected numbers in 0..1.")
    if type(steps) is not int or not 2 <= steps <= _MAX_TIMESTEPS:
        raise InputError(f"The scheduler of {folder.name} has {steps} timesteps; expected 2 to {_MAX_TIMESTEPS}.")
    prediction, curve = config.get("prediction_type", "epsilon"), config.get("beta_schedule", "scaled_linear")
    return NoiseSchedule.discrete(str(prediction), float(first), float(last), str(curve), steps)


def _network(kind: type, folder: Path, component: str, device: torch.device, dtype: torch.dtype) -> nn.Module:
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "torch_dtype": dtype}
    variant = _variant(folder / component)
    if component.startswith(("unet", "vae")):
        options["low_cpu_mem_usage"] = False  # the other way needs one more package
    _check_config(kind, folder, component)
    try:
        with _without_progress_bars():
            network, info = kind.from_pretrained(
                str(folder), subfolder=component, variant=variant, output_loading_info=True, **options
            )
    except Exception as error:  # of every kind, from whatever in a description a library stumbles over
        raise _unreadable(component, folder, error) from None
    missing = sorted(name for name in info.get("missing_keys", ()) if not name.endswith("position_ids"))
    if missing:  # a library fills them with random numbers, and says so in a log only
        raise InputError(
            f"The {component} of {folder.name} lacks {len(missing)} of its weights, {missing[0]} for one; it is "
            "damaged, or its configuration belongs to other weights."
        )
    _cast(network, dtype)
    return network.to(device).eval().requires_grad_(False)


def _cast(network: nn.Module, dtype: torch.dtype) -> None:
    """Bring all weights to one type: libraries leave some in that of their file, which stops the first step."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point() and tensor.dtype != dtype:
            tensor.data = tensor.data.to(dtype)


def _check_config(kind: type, folder: Path, component: str) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    try:
        for file in (folder / component).glob("*.safetensors"):
            shapes |= read_shapes(file)
        config = _json(folder / component / "config.json")
        check_config_limits(config, shapes, "Its config.json")
        check_built_size(lambda: _from_config(kind, config), shapes, "Its config.json")
    except InputError as error:
        raise InputError(f"The {component} of {folder.name} cannot be read: {error}") from None


def _from_config(kind: type, config: dict) -> nn.Module:
    """Build a network of diffusers, or of transformers, which keeps its config in a class of its own."""
    own_config = getattr(kind, "config_class", None)
    return kind(own_config.from_dict(config)) if own_config is not None else kind.from_config(config)


def _unreadable(component: str, folder: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:300]
    return InputError(f"The {component} of {folder.name} cannot be read: {reason}")


def _factor(vae: nn.Module, name: str, folder: Path) -> float:
    """Return a number of the VAE's description; a shift may be left out."""
    value = getattr(vae.config, name, None)
    if value is None and name == "shift_factor":
        return 0.0
    if finite_number(value) is None or (name == "scaling_factor" and value <= 0):
        raise InputError(f"The vae of {folder.name} has {str(value)[:40]!r} for '{name}'; expected a number.")
    return float(value)


def _names_a_class(value: Any) -> bool:
    """Tell whether an entry of the index is [library, class]; [null, null] stands for a component that was left out."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(name, str) for name in value)


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Turn off transformers' progress bars, which end up among what the command line prints."""
    logging = import_transformers().logging
    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def _tower(transformers: Any, folder: Path, suffix: str, device: torch.device, dtype: torch.dtype) -> TextTower:
    kind = transformers.CLIPTextModelWithProjection if suffix else transformers.CLIPTextModel
    network = _network(kind, folder, f"text_encoder{suffix}", device, dtype)
    tokenizer_folder = folder / f"tokenizer{suffix}"
    try:
        # A folder on disk: nothing is fetched.
        tokenizer = transformers.CLIPTokenizer.from_pretrained(str(tokenizer_folder), local_files_only=True)  # nosec B615
    except Exception as error:  # the library below raises a bare Exception over a damaged vocabulary
        raise _unreadable(tokenizer_folder.name, folder, error) from None
    return TextTower(network, tokenizer)


def _variant(folder: Path) -> str | None:
    """Return None, or "fp16" where a component's weights are there in no other form; refuse pickles."""
    files = [path.name for path in folder.glob("*")] if folder.is_dir() else []
    weights = [name for name in files if name.endswith(".safetensors")]
    if not weights:
        contents = "only pickles" if any(name.endswith((".bin", ".ckpt", ".pt")) for name in files) else "no weights"
        raise InputError(
            f"The folder {folder.parent.name}/{folder.name} has {contents}; expected .safetensors files. Save the "
            "pipeline again with safe_serialization=True."
        )
    return "fp16" if all(".fp16" in name for name in weights) else None


def _json(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"The file {path.parent.name}/{path.name} is missing: this is no diffusers folder.") from None
    except (ValueError, RecursionError):
        raise InputError(f"The file {path.parent.name}/{path.name} is damaged: it is not JSON.") from None
    if not isinstance(values, dict):
        raise InputError(f"The file {path.parent.name}/{path.name} is damaged: expected a JSON object.")
    return values
