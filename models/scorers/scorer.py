"""Text-image scorer: open_clip's contrastive models (CLIP, 2103.00020) as a differentiable score.

A model is a folder as open_clip publishes it (open_clip_config.json, weights, perhaps a vocabulary), or one
.safetensors file whose architecture is named or recognised by its shapes. Nothing is downloaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoint import read_safetensors, read_shapes
from ..code_range import finite_number
from ..errors import CheckpointError, InputError
from ..inference import no_inference_mode
from ..loading.size_check import check_built_size
from ..loading.skip_init import skip_init
from ..loading.torchvision_stubs import declare_where_allowed
from .files import ScorerDescription, describe_scorer

_BATCH = 64  # sentences or pictures per pass where no gradient is asked for


@dataclass(frozen=True, eq=False)
class TextImageScorer:
    """A frozen pair of towers that put pictures and sentences into one space (socket TEXT_IMAGE_SCORER)."""

    model: nn.Module
    tokenizer: Callable[..., Tensor]
    image_size: tuple[int, int]  # height and width that the image tower sees
    mean: tuple[float, ...]  # of pictures in 0..1
    std: tuple[float, ...]
    context_length: int  # tokens of the longest sentence, both markers included
    name: str = "scorer"
    squash: bool = False  # pictures of another shape are bent into the tower's (SigLIP) instead of cut

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return next(self.model.parameters()).device

    @property
    def logit_scale(self) -> float:
        """Return the factor of similarities before their softmax, 1 / temperature, as the model was trained."""
        scale = getattr(self.model, "logit_scale", None)
        return 100.0 if scale is None else float(scale.detach().exp().clamp(1, 100))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Embed N sentences as unit vectors [N, E], without gradient.

        Raises:
            InputError: for no sentence, an empty one, or one longer than the model reads.
        """
        if not texts:
            raise InputError("No sentence was given to encode.")
        for text in texts:
            self._check_length(text)
        with torch.inference_mode(False), torch.no_grad():
            tokens = self.tokenizer(list(texts), context_length=self.context_length).to(self.device)
            embeddings = [self.model.encode_text(batch) for batch in tokens.split(_BATCH)]
            return F.normalize(torch.cat(embeddings).float(), dim=1)

    def encode_images(self, pictures: Tensor) -> Tensor:
        """Embed pictures [B, 3, H, W] in -1..1 as unit vectors [B, E]; gradients flow back into the pictures."""
        prepared = self.prepare(pictures)
        if torch.is_grad_enabled() and pictures.requires_grad:
            return F.normalize(self.model.encode_image(prepared).float(), dim=1)
        embeddings = [self.model.encode_image(batch) for batch in prepared.split(_BATCH)]
        return F.normalize(torch.cat(embeddings).float(), dim=1)

    def prepare(self, pictures: Tensor) -> Tensor:
        """Preprocess pictures for the image tower: its size, its mean and deviation.

        Args:
            pictures: [B, 3, H, W] in -1..1. Values beyond, which generators paint, are clamped as in a file.

        Returns:
            [B, 3, height, width], normalised.

        Raises:
            InputError: for another shape.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or 0 in pictures.shape:
            raise InputError(f"The pictures to score have shape {list(pictures.shape)}; expected [B, 3, H, W].")
        x = (pictures.to(self.device, torch.float32) * 0.5 + 0.5).clamp(0, 1)
        x = _resize_and_crop(x, self.image_size, self.squash)
        mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (self.mean, self.std))
        return (x - mean) / std

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a sentence with both markers, before any cutting."""
        if hasattr(self.tokenizer, "encode"):
            return len(self.tokenizer.encode(text)) + 2
        return len(self.tokenizer.tokenizer(text)["input_ids"])

    def _check_length(self, text: str) -> None:
        if not isinstance(text, str) or not text.strip():
            raise InputError("A sentence to score is empty; write what the picture should show.")
        count = self.count_tokens(text)
        if count > self.context_length:
            raise InputError(
                f"The sentence '{text[:60]}...' has {count} tokens, the scorer '{self.name}' reads "
                f"{self.context_length}; shorten it."
            )


def load_scorer(
    path: str | Path,
    device: torch.device | str = "cpu",
    architecture: str = "auto",  # one of open_clip's names; "auto": the folder's config, else by the weights' shapes
) -> TextImageScorer:
    """Read an open_clip model from a folder or a .safetensors file; frozen, float32, on ``device``.

    Raises:
        CheckpointError: for files that are damaged or of another architecture.
        InputError: for an unknown architecture, and when open_clip is missing.
    """
    open_clip = import_open_clip()
    description = describe_scorer(Path(path), architecture, open_clip)
    with no_inference_mode():
        model = _build_model(description, open_clip)
        weights, _ = read_safetensors(description.weights)
        _load_weights(model, description.rename(weights), description)
        model = model.float().eval().requires_grad_(False).to(device)
    size = getattr(model.visual, "image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    return TextImageScorer(
        model,
        _tokenizer(description, open_clip),
        (int(height), int(width)),
        _channel_statistic(description, "mean", open_clip.OPENAI_DATASET_MEAN),
        _channel_statistic(description, "std", open_clip.OPENAI_DATASET_STD),
        int(description.model["text_cfg"].get("context_length", 77)),
        description.name,
        description.preprocess.get("resize_mode") == "squash",
    )


def _channel_statistic(description: ScorerDescription, name: str, default: Sequence[float]) -> tuple[float, ...]:
    """Return the mean or deviation of the description, one number for each colour."""
    values = description.preprocess.get(name, default)
    finite = isinstance(values, list | tuple) and all(finite_number(value) is not None for value in values)
    if not finite or len(values) != 3 or (name == "std" and min(values) <= 0):
        raise CheckpointError(f"{description.name}: its '{name}' of colours should be three numbers, it is damaged.")
    return tuple(float(value) for value in values)


def import_open_clip() -> Any:
    """Import open_clip when it is first needed.

    Raises:
        InputError: says how to get it.
    """
    declare_where_allowed()
    try:
        import open_clip
    except ImportError:
        raise InputError(
            "Text edits need the package open_clip_torch: install the pack's requirements.txt with the Python that "
            "runs this program."
        ) from None
    except RuntimeError as problem:  # a torchvision that does not fit its torch
        raise InputError(
            f"open_clip cannot be imported, because torchvision does not fit torch {torch.__version__} ({problem}). "
            "Install the torchvision that belongs to it; in a program of your own on a CPU, calling "
            "semantic_edit.models.loading.torchvision_stubs.allow_declaring() first helps as well."
        ) from None
    return open_clip


def _build_model(description: ScorerDescription, open_clip: Any) -> nn.Module:
    config = {name: value for name, value in description.model.items() if name not in ("custom_text", "multimodal_cfg")}
    kind = open_clip.CustomTextCLIP if description.model.get("custom_text") else open_clip.CLIP
    shapes = read_shapes(description.weights)
    check_built_size(lambda: kind(**config), shapes, f"The architecture '{description.name}'")
    try:
        with skip_init():  # `_load_weights` checks that every weight comes from the file
            return kind(**config)
    except Exception as problem:  # of every kind, from whatever in a description the library stumbles over
        reason = " ".join(str(problem).split())[:300]
        raise CheckpointError(f"{description.name}: open_clip cannot build this model ({reason}).") from None


def _load_weights(model: nn.Module, weights: dict[str, Tensor], description: ScorerDescription) -> None:
    expected = model.state_dict()
    # Position counters are stored by some writers; they hold no weights.
    weights = {name: t for name, t in weights.items() if name in expected or not name.endswith("position_ids")}
    wrong = [name for name in expected if name not in weights or weights[name].shape != expected[name].shape]
    extra = sorted(set(weights) - set(expected))
    if wrong or extra:
        reason = f"does not fit at {wrong[0]}" if wrong else f"has the unknown tensor {extra[0]}"
        raise CheckpointError(
            f"{description.weights.name} {reason}; its architecture is not '{description.name}'. "
            "Choose the architecture."
        )
    model.load_state_dict(weights)


def _tokenizer(description: ScorerDescription, open_clip: Any) -> Callable[..., Tensor]:
    text = description.model["text_cfg"]
    options, length = text.get("tokenizer_kwargs") or {}, text.get("context_length", 77)
    if not isinstance(options, dict) or type(length) is not int:
        raise CheckpointError(f"{description.name}: its description of the tokenizer cannot be read, it is damaged.")
    options = dict(options)
    if text.get("hf_tokenizer_name"):
        folder = description.weights.parent
        if not (folder / "tokenizer.json").is_file():
            raise CheckpointError(
                f"{description.name} needs its tokenizer beside the weights: put the tokenizer.json of "
                f"'{text['hf_tokenizer_name']}' into the folder {folder.name}."
            )
        with _vocabulary_errors(description, "tokenizer.json"):
            return open_clip.tokenizer.HFTokenizer(str(folder), context_length=length, **options)
    if "bpe_path" in options:
        vocabulary = description.weights.parent / Path(str(options["bpe_path"])).name  # never outside the folder
        if not vocabulary.is_file():
            raise CheckpointError(f"{description.name} names the vocabulary {vocabulary.name}, which is not beside it.")
        options["bpe_path"] = str(vocabulary)
    with _vocabulary_errors(description, Path(str(options.get("bpe_path", "vocabulary"))).name):
        tokenizer = open_clip.SimpleTokenizer(context_length=length, **options)
    if tokenizer.vocab_size != text.get("vocab_size", 49408):
        raise CheckpointError(
            f"{description.name}: its vocabulary has {tokenizer.vocab_size} entries, its text tower expects "
            f"{text.get('vocab_size', 49408)}; the vocabulary file of this model is missing."
        )
    return tokenizer


@contextlib.contextmanager
def _vocabulary_errors(description: ScorerDescription, file: str) -> Iterator[None]:
    """Turn whatever a library raises over a damaged vocabulary, even a bare Exception, into a CheckpointError."""
    try:
        yield
    except Exception as problem:
        reason = " ".join(str(problem).split())[:200]
        raise CheckpointError(f"{description.name}: its {file} cannot be read, it is damaged ({reason}).") from None


def _resize_and_crop(x: Tensor, size: tuple[int, int], squash: bool = False) -> Tensor:
    """Resize [B, 3, H, W] so that the shorter side fits, and crop the middle; or bend it to ``size`` (squash)."""
    height, width = size
    scale = max(height / x.shape[-2], width / x.shape[-1])
    resized = (max(height, round(x.shape[-2] * scale)), max(width, round(x.shape[-1] * scale)))
    resized = (height, width) if squash else resized
    if resized != tuple(x.shape[-2:]):
        x = F.interpolate(x, resized, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    top, left = (resized[0] - height) // 2, (resized[1] - width) // 2
    return x[..., top : top + height, left : left + width]
