"""Self-attention control on ComfyUI's MODEL, through its own patches: early steps attend as under another text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..editing.imagic.conditioning import Conditioning
from ..editing.imagic.token_counts import pad_to
from ..models.diffusion.held_attention import HeldAttention
from ..models.errors import InputError
from .comfyui_denoiser import conditions_of

__all__ = ["hold_attention"]


def hold_attention(model: Any, reference: Conditioning, share: float) -> Any:
    """Return a new MODEL that attends as under ``reference`` in the first ``share`` of the trained timesteps.

    U-shaped networks are reached through their attn1 patches, transformers through the override of their attention;
    both are patches of `model.clone()`, beside those that the MODEL has.

    Args:
        model: a ModelPatcher; it stays as it was.
        share: 0..1; 0 holds nothing.

    Raises:
        InputError: when the reference does not suit the model.
    """
    held = model.clone()
    if share <= 0:
        return held
    sampling = model.get_model_object("model_sampling")
    pass_ = _HeldPasses(held, reference, float(sampling.percent_to_sigma(min(share, 1 - 1e-4))))
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    if isinstance(held.model.diffusion_model, UNetModel):
        held.set_model_attn1_patch(pass_.attn1_patch)
    else:
        options = held.model_options["transformer_options"]
        pass_.inner_attention = options.get("optimized_attention_override")
        options["optimized_attention_override"] = pass_.attention_override
    pass_.inner_wrapper = held.model_options.get("model_function_wrapper")
    held.set_model_unet_function_wrapper(pass_.wrapper)
    return held


class _HeldPasses:
    """Runs the network twice in each early step: under the reference, then as asked for, with the first's attention."""

    def __init__(self, model: Any, reference: Conditioning, sigma_from: float) -> None:
        self.base, self.device = model.model, model.load_device
        self.reference, self.sigma_from = reference, sigma_from
        self.held, self.image_tokens = HeldAttention(), 0
        self.inner_wrapper: Callable | None = None
        self.inner_attention: Callable | None = None

    def wrapper(self, apply_model: Callable, arguments: Mapping[str, Any]) -> Tensor:
        """Stand in for a call of the network, as a model_function_wrapper."""
        x, sigma = arguments["input"], arguments["timestep"]
        # What is guided away from is painted as it was.
        early = float(sigma.min()) >= self.sigma_from and 0 in arguments["cond_or_uncond"]
        conditions = self._conditions_for(arguments) if early else None
        if conditions is None:
            return self._call(apply_model, arguments)
        patch = getattr(self.base.diffusion_model, "patch_size", 1)
        patch = patch if isinstance(patch, int) else max(patch)
        self.image_tokens = -(-x.shape[-1] // patch) * -(-x.shape[-2] // patch)
        unchanged = {key: value for key, value in arguments["c"].items() if key in ("transformer_options", "control")}
        if "c_concat" in arguments["c"]:
            unchanged["c_concat"] = arguments["c"]["c_concat"]
        with self.held.recording():
            self._call(apply_model, {**arguments, "c": {**conditions, **unchanged}})
        if self.held.empty:
            raise InputError(
                f"The attention of this {type(self.base).__name__} model cannot be held: no patch reaches it."
            )
        chunks = arguments["cond_or_uncond"]
        positive = torch.tensor([chunk == 0 for chunk in chunks for _ in range(len(x) // len(chunks))])
        with self.held.injecting(positive):
            return self._call(apply_model, arguments)

    def attn1_patch(self, n: Tensor, context: Tensor, value: Tensor, options: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Exchange what queries, keys and values [B, tokens, C] of a self-attention are made of."""
        if not n.shape == context.shape == value.shape:
            return n, context, value
        return self.held(n, context, value)

    def attention_override(
        self, attention: Callable, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Exchange queries, keys and the picture's values of an attention over the picture and what is beside it."""
        if self.held.active and q.shape == k.shape and q.shape[-2] >= self.image_tokens:
            q, k, image = self.held(q, k, v[..., self._image_rows, :])
            v = v.clone()
            v[..., self._image_rows, :] = image  # what is seen in the text stays the sentence's
        if self.inner_attention is not None:
            return self.inner_attention(attention, q, k, v, *args, **kwargs)
        return attention(q, k, v, *args, **kwargs)

    @property
    def _image_rows(self) -> slice:
        """Return where the picture's tokens stand: behind the text's but in HiDream."""
        if type(self.base).__name__.startswith("HiDream"):
            return slice(None, self.image_tokens)
        return slice(-self.image_tokens, None)

    def _call(self, apply_model: Callable, arguments: Mapping[str, Any]) -> Tensor:
        if self.inner_wrapper is not None:
            return self.inner_wrapper(apply_model, arguments)
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])

    def _conditions_for(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the reference as arguments of a call, padded to its tokens; None where the call has fewer."""
        x, asked = arguments["input"], arguments["c"]
        text = asked.get("c_crossattn")
        conditions = self._conditions(self.reference, x)
        own = conditions.get("c_crossattn")
        if isinstance(text, Tensor) and isinstance(own, Tensor) and own.shape[1] < text.shape[1]:
            conditions = self._conditions(pad_to(self.reference, text.shape[1]), x)
        conditions = {key: _padded(value, asked.get(key)) for key, value in conditions.items()}
        has_fewer = any(_shorter(asked.get(key), value) for key, value in conditions.items())
        return None if has_fewer else conditions

    def _conditions(self, entry: Conditioning, x: Tensor) -> dict[str, Any]:
        return conditions_of(self.base, entry.embedding, entry.extras, tuple(x.shape), self.device)


def _padded(own: Any, other: Any) -> Any:
    """Repeat the last token of a further encoder's text [..., T, D] up to the other's number of tokens."""
    if not _shorter(own, other) or own.ndim < 4:
        return own
    missing = other.shape[-2] - own.shape[-2]
    return torch.cat([own, own[..., -1:, :].expand(*own.shape[:-2], missing, own.shape[-1])], dim=-2)


def _shorter(one: Any, other: Any) -> bool:
    """Tell whether a text [..., T, D] has fewer tokens than the other."""
    tensors = isinstance(one, Tensor) and isinstance(other, Tensor) and one.ndim == other.ndim > 2
    return tensors and one.shape[-1] == other.shape[-1] and one.shape[-2] < other.shape[-2]
