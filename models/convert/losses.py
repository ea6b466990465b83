"""Reader of networks that losses are made of: ArcFace on IR-SE 50 and its kin, VGG16 alone, LPIPS on VGG16.

The face recogniser is ``model_ir_se50.pth`` as pixel2style2pixel, e4e and StyleCLIP ask for it. VGG16 comes as
torchvision saves it ("features.N.weight"; its classifier is left out), LPIPS as ``lpips.LPIPS(net="vgg")`` saves it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..losses.files import LossNetwork
from ..losses.identity import IdentityConfig, IdentityNetwork
from ..losses.perceptual import COMPARED, CONVOLUTIONS, PerceptualConfig, PerceptualNetwork
from .assemble import fill_network, float_tensors
from .irse import backbone_stages
from .modules import Stored, inner_state_dicts, named_tensors

IDENTITY, PERCEPTUAL = "identity", "perceptual"
_KEYS = ("state_dict", "model", "backbone", "net")
_PREFIXES = ("", "facenet.", "backbone.", "vgg.", "lpips.", "perceptual.")
_COUNTERS = "num_batches_tracked"  # counters of the training
_LPIPS_NET = re.compile(r"net\.slice[1-5]\.(\d{1,2})\.(weight|bias)")
_LPIPS_WEIGHT = re.compile(r"(?:lin|lins\.)([0-4])\.model\.[01]\.weight")


@dataclass(eq=False)
class LossWeights:
    """Weights of such a network that a reader took from a file."""

    kind: str  # IDENTITY or PERCEPTUAL
    layout: str  # whose file it is, in words
    tensors: dict[str, Tensor]
    config: IdentityConfig | PerceptualConfig
    notes: list[str] = field(default_factory=list)  # for the user


def find_loss(content: Any) -> LossWeights | None:
    """Read the network in a file's content, None when there is none.

    Raises:
        CheckpointError: when it is not as published.
    """
    for _, value in inner_state_dicts(content, _KEYS):
        stored = named_tensors(value)
        for prefix in _PREFIXES:
            mine = {n[len(prefix) :]: v for n, v in stored.items() if n.startswith(prefix)}
            if "output_layer.3.weight" in mine and "body.0.res_layer.1.weight" in mine:
                return _read_identity(mine)
            if "net.slice1.0.weight" in mine or _is_vgg(mine):
                return _read_perceptual(mine)
            if any(_LPIPS_WEIGHT.fullmatch(name) for name in mine):
                raise CheckpointError(
                    "holds LPIPS' weights without the network they belong to; convert a whole one, as "
                    'lpips.LPIPS(net="vgg").state_dict() is, or VGG16 alone'
                )
    return None


def build_loss(weights: LossWeights) -> LossNetwork:
    """Build the frozen network with these weights.

    Raises:
        CheckpointError: names the tensor that is missing, left over, or of another shape.
    """
    identity = isinstance(weights.config, IdentityConfig)
    name = "a face recogniser (ArcFace)" if identity else "VGG16"
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            network = (IdentityNetwork if identity else PerceptualNetwork)(weights.config)  # type: ignore[arg-type]
        fill_network(network, weights.tensors, name)
    return network.requires_grad_(False).eval()


def _is_vgg(names: dict[str, Stored]) -> bool:
    """Return whether the convolutions of VGG16 lie at torchvision's numbers, without norms between them."""
    return all(f"features.{n}.weight" in names for n in CONVOLUTIONS) and "features.1.weight" not in names


def _read_identity(stored: dict[str, Stored]) -> LossWeights:
    """Read a face recogniser; its sizes are in the shapes."""
    tensors = float_tensors({name: value for name, value in stored.items() if not name.endswith(_COUNTERS)})
    dense = tensors["output_layer.3.weight"]
    try:
        stages = backbone_stages(tensors)
    except (KeyError, IndexError) as problem:
        raise CheckpointError(f"is not a face recogniser as published: it lacks {problem}") from None
    side = round((dense.shape[1] / stages["widths"][-1]) ** 0.5) if dense.ndim == 2 else 0
    config = IdentityConfig(
        embedding=int(dense.shape[0]), size=16 * side, affine="output_layer.4.weight" in tensors, **stages
    )
    return LossWeights(IDENTITY, "ArcFace, improved ResNet", tensors, config)


def _read_perceptual(stored: dict[str, Stored]) -> LossWeights:
    """Read VGG16, and LPIPS' weights of its channels where they are there."""
    named: dict[str, Stored] = {}
    weights: dict[str, Stored] = {}
    for name, value in stored.items():
        if match := _LPIPS_NET.fullmatch(name):
            named[f"features.{match[1]}.{match[2]}"] = value
        elif match := re.fullmatch(r"features\.\d{1,2}\.(weight|bias)", name):
            named[name] = value
        elif match := _LPIPS_WEIGHT.fullmatch(name):
            weights[f"lin{match[1]}"] = value
    tensors = float_tensors(named)
    learned = {name: tensor.reshape(-1) for name, tensor in float_tensors(weights).items()} if weights else {}
    missing = [n for n in CONVOLUTIONS if f"features.{n}.weight" not in tensors]
    if missing:
        raise CheckpointError(f"is not VGG16 as published: it lacks features.{missing[0]}.weight")
    config = PerceptualConfig(tuple(int(tensors[f"features.{n}.weight"].shape[0]) for n in CONVOLUTIONS))
    if learned and len(learned) != len(COMPARED):
        raise CheckpointError(f"is not LPIPS as published: it has weights of {len(learned)} layers of {len(COMPARED)}")
    if any(bool((tensor < 0).any()) for tensor in learned.values()):
        raise CheckpointError("is not LPIPS as published: its weights of channels are never negative")
    result = LossWeights(PERCEPTUAL, "LPIPS on VGG16" if learned else "VGG16", tensors, config)
    if not learned:
        result.notes.append("the file is VGG16 without LPIPS' weights; every channel counts alike")
        learned = {
            f"lin{k}": torch.ones(config.channels[CONVOLUTIONS.index(number)]) for k, number in enumerate(COMPARED)
        }
    tensors.update(learned)
    return result
