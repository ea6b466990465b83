"""Reader of encoders in the checkpoints of e4e and pixel2style2pixel.

They lie under "encoder.*" of {"state_dict", "latent_avg", "opts"}. The same files hold a generator under "decoder.*",
which names the family that the encoder belongs to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import repeat
from torch import Tensor

from ..encoders.irse import IrseConfig, IrseEncoder
from ..errors import CheckpointError
from ..gan.generator import family_fingerprint
from .appearance import appearance
from .assemble import build_generator, check_size, fill_network, float_tensor, float_tensors
from .modules import Stored, inner_state_dicts, named_tensors
from .nvlabs import find_nvlabs
from .rosinality import find_rosinality
from .stored import Opaque, StoredArray, StoredTensor, plain_number

_PREFIXES = ("encoder.", "")
_KEYS = ("state_dict", "model")
_COUNTERS = "num_batches_tracked"  # counters of the training
_KINDS = {"Encoder4Editing": "e4e", "GradualStyleEncoder": "psp"}


@dataclass(eq=False)
class EncoderWeights:
    """Weights of an encoder that a reader took from a file."""

    layout: str  # whose file it is, in words
    tensors: dict[str, Tensor]
    config: IrseConfig
    family: str  # of the generator in the same file, "" without one
    notes: list[str] = field(default_factory=list)  # for the user


def holds_encoder(content: Any) -> bool:
    """Return whether a file's content has an encoder of this kind in it."""
    return bool(_encoder_tensors(content))


def find_encoder(content: Any) -> EncoderWeights | None:
    """Read the encoder in a file's content, None when there is none.

    Raises:
        CheckpointError: when it is not as published.
    """
    stored = _encoder_tensors(content)
    if not stored:
        return None
    kind = appearance(content)
    if "StyleGAN3" in kind:
        raise CheckpointError(f"holds {kind}; encoders over StyleGAN2 are read")
    tensors = float_tensors({name: value for name, value in stored.items() if not name.endswith(_COUNTERS)})
    options = _options(content)
    notes: list[str] = []
    heads, family = _heads(tensors, options, notes), _family(content, notes)
    rows = _rows(content, tensors, heads)
    mean, adds_mean = _mean(content, rows, options, notes)
    try:
        config = IrseConfig(
            num_layers=rows,
            heads=heads,
            size=_size(tensors, options),
            adds_mean=adds_mean,
            own_mean=mean is not None,
            **_body(tensors),
        )
    except (KeyError, IndexError) as problem:
        raise CheckpointError(f"is not an encoder as published: it lacks {problem}") from None
    tensors["w_mean"] = mean if mean is not None else torch.zeros(config.num_layers, config.w_dim)
    return EncoderWeights(f"{heads} encoder", tensors, config, family, notes)


def build_encoder(weights: EncoderWeights) -> IrseEncoder:
    """Build the frozen encoder with these weights.

    Raises:
        CheckpointError: names the tensor that is missing, left over, or of another shape.
    """
    with torch.inference_mode(False), torch.no_grad():
        with torch.device("meta"):
            encoder = IrseEncoder(weights.config, weights.family)
        fill_network(encoder, weights.tensors, "an encoder")
    return encoder.requires_grad_(False).eval()


def _encoder_tensors(content: Any) -> dict[str, Stored]:
    """Return the encoder's tensors under its own names, {} when there is none."""
    for _, value in inner_state_dicts(content, _KEYS):
        stored = named_tensors(value)
        for prefix in _PREFIXES:
            if f"{prefix}input_layer.0.weight" in stored and f"{prefix}body.0.res_layer.1.weight" in stored:
                return {n[len(prefix) :]: v for n, v in stored.items() if n.startswith(prefix)}
    return {}


def _options(content: Any) -> dict:
    """Return the training's options: a dict, or the attributes of a Namespace."""
    options = content.get("opts") if isinstance(content, dict) else None
    options = options.attributes() if isinstance(options, Opaque) else options
    return options if isinstance(options, dict) else {}


def _heads(tensors: dict[str, Tensor], options: dict, notes: list[str]) -> str:
    if "styles.0.linear.weight" not in tensors:
        if "linear.weight" not in tensors:
            raise CheckpointError("is a face network without heads for rows of W+ (a backbone alone), no encoder")
        return "single"
    kind = _KINDS.get(str(options.get("encoder_type")))
    if kind is None:
        notes.append("the file does not say whether it is e4e or pixel2style2pixel; e4e was assumed")
    return kind or "e4e"


def _rows(content: Any, tensors: dict[str, Tensor], heads: str) -> int:
    if heads != "single":
        return len({name.split(".")[1] for name in tensors if name.startswith("styles.")})
    pattern = re.compile(r"decoder\.convs\.\d{1,2}\.conv\.weight")
    names = {name for _, value in inner_state_dicts(content, _KEYS) for name in named_tensors(value)}
    convolutions = [name for name in names if pattern.fullmatch(name)]
    if not convolutions:
        raise CheckpointError("holds an encoder of one code for all rows, and no decoder that says how many there are")
    return len(convolutions) + 2


def _size(tensors: dict[str, Tensor], options: dict) -> tuple[int, int]:
    """Infer the input size: 16 pixels for each of the smallest map, halved to one by the first head; cars are 3:4."""
    halvings = len([n for n in tensors if re.fullmatch(r"styles\.0\.convs\.\d{1,2}\.weight", n)])
    width = 16 << halvings if 1 <= halvings <= 6 else 256
    return (width * 3 // 4 if "cars" in str(options.get("dataset_type")) else width, width)


def _body(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Infer the dimensions of the backbone and the width of its codes."""
    head = tensors.get("styles.0.linear.weight", tensors.get("linear.weight"))
    return {**backbone_stages(tensors), "w_dim": int(head.shape[0])}


def backbone_stages(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Infer widths and units of the four stages; a stage begins where the width changes, the first at the start.

    Args:
        tensors: of an improved ResNet, by their published names.

    Returns:
        Widths, units, and whether it squeezes.

    Raises:
        KeyError: a tensor is missing.
    """
    count = len({name.split(".")[1] for name in tensors if name.startswith("body.")})
    widths = [int(tensors["input_layer.0.weight"].shape[0])]
    units: list[int] = []
    for index in range(count):
        width = int(tensors[f"body.{index}.res_layer.1.weight"].shape[0])
        if not units or width != widths[-1]:
            units.append(0)
            widths.append(width)
        units[-1] += 1
    return {
        "widths": tuple(widths),
        "units": tuple(units),
        "squeeze": "body.0.res_layer.5.fc1.weight" in tensors,
    }


def _mean(content: Any, rows: int, options: dict, notes: list[str]) -> tuple[Tensor | None, bool]:
    """Return the mean of W for every row [L, D], and whether codes are offsets from one."""
    adds_mean = options.get("start_from_latent_avg", True)
    if not (plain_number(adds_mean) if adds_mean is not None else False):
        return None, False
    stored = content.get("latent_avg") if isinstance(content, dict) else None
    if not isinstance(stored, StoredTensor | StoredArray):
        notes.append("the file does not hold the mean of W; that of the generator is taken when the encoder is used")
        return None, True
    mean = float_tensor(stored, "latent_avg")
    check_size(mean, "latent_avg")
    mean = repeat(mean, "d -> rows d", rows=rows) if mean.ndim == 1 else mean
    if mean.ndim != 2 or mean.shape[0] not in (1, rows):
        raise CheckpointError(f"latent_avg has the shape {list(mean.shape)}; expected [{rows}, D] or [D]")
    return mean.expand(rows, -1).contiguous(), True


def _family(content: Any, notes: list[str]) -> str:
    """Return the family of the generator that lies in the same file, "" without one."""
    generator = find_rosinality(content) or find_nvlabs(content)
    if generator is None:
        notes.append("the file holds no generator, so the encoder names no family; shapes are checked when it is used")
        return ""
    return family_fingerprint(build_generator(generator))
