"""The slider as it travels (socket PAIR_EDIT): LoRA tensors under the names that other tools read, and their origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ...models.code_range import finite_number
from ...models.errors import InputError
from ...models.printable import printable
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.lora import Lora, weight_shape

__all__ = ["PairEdit"]

_UP, _DOWN, _ALPHA = ".lora_up.weight", ".lora_down.weight", ".alpha"
_SMALL_SHARE = 0.05
_LARGE_CONTENT = 2.0


@dataclass(frozen=True, eq=False)
class PairEdit:
    """A slider learned from before/after pairs.

    Args:
        lora: tensors of a LoRA file; +1 leans toward the pictures after, -1 toward those before.
        model: name of the model it was learned on.
        states: per reading its value (before, after) on the example, such as {"smile": (-0.2, 0.8)}.
        provenance: how it came about, for people and files.
        losses: mean loss of each step of the slider; files do not hold them.

    Raises:
        InputError: when the tensors are no LoRA of whole pairs.
    """

    lora: Mapping[str, Tensor]
    model: str = ""
    states: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    losses: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names = self.layer_names()
        reasons = [reason for name in names if (reason := self._defect(name))]
        if not names or reasons:
            raise InputError(f"This is no low-rank pair edit: {reasons[0] if reasons else 'it has no layer'}.")

    def _defect(self, name: str) -> str:
        """Say in a few words why a layer's tensors are no low-rank change, "" where they are."""
        up, down, alpha = (self.lora.get(name + suffix) for suffix in (_UP, _DOWN, _ALPHA))
        name = printable(name)[:80]
        if up is None or down is None:
            return f"'{name}' has one half only"
        if up.ndim < 2 or up.ndim != down.ndim or up.shape[1] != down.shape[0] or up[0, :1].numel() != 1:
            return f"the halves of '{name}' have shapes {list(up.shape)} and {list(down.shape)}"
        return f"alpha of '{name}' is no single number" if alpha is not None and alpha.numel() != 1 else ""

    @property
    def reference(self) -> bool:
        """Tell whether it was learned with the photo as a reference latent, and so needs no inversion."""
        settings = self.provenance.get("settings")
        return isinstance(settings, Mapping) and settings.get("reference") is True

    def layer_names(self) -> list[str]:
        """Return the names of the layers it changes, as LoRA files spell them."""
        suffixes = (_UP, _DOWN)
        return list(dict.fromkeys(key.removesuffix(s) for key in self.lora for s in suffixes if key.endswith(s)))

    def layer_strength(self, name: str) -> float:
        """Return the strength that a layer, by its name in LoRA files, has of its own: its alpha over its rank."""
        alpha = self.lora.get(name + _ALPHA)
        return 1.0 if alpha is None else float(alpha) / len(self.lora[name + _DOWN])

    def loras_for(self, denoiser: Denoiser) -> dict[str, Lora]:
        """Return the changes by layer of a model, on its device.

        Raises:
            InputError: when the model has no such layers, or layers of other sizes.
        """
        modules = {
            denoiser.lora_name(name): (name, module) for name, module in denoiser.network.named_modules() if name
        }
        loras = {}
        for stem in self.layer_names():
            if stem not in modules:
                raise InputError(self._other_model(denoiser, f"it has no layer '{stem}'"))
            layer, module = modules[stem]
            up, down = (self.lora[stem + suffix].to(denoiser.device).float() for suffix in (_UP, _DOWN))
            shape = [len(up), *down.shape[1:]]
            size = [] if getattr(module, "weight", None) is None else list(weight_shape(module))
            if size != shape:
                raise InputError(self._other_model(denoiser, f"its layer '{stem}' has weights {size}, not {shape}"))
            loras[layer] = Lora(up * self.layer_strength(stem), down)
        return loras

    def _other_model(self, denoiser: Denoiser, reason: str) -> str:
        origin = f"'{self.model}'" if self.model else "another model"
        return (
            f"The pair edit was learned on {origin} and does not fit '{denoiser.name}': {reason}. Use the model it was "
            "learned on, or one of the same family."
        )

    def report(self) -> str:
        """Say in sentences what was learned, with a warning where it is little, or mostly the pair's own picture."""
        facts = self.provenance
        # Of a file, where anything may stand.
        before, after, share, content = (
            finite_number(facts.get(name)) for name in ("loss_before", "loss_after", "share", "content")
        )
        count = sum(tensor.numel() for key, tensor in self.lora.items() if not key.endswith(_ALPHA))
        text = f"{count:,} numbers beside the model's own"
        if before is not None and after is not None:
            text += f"; the loss on fixed noise went from {before:.4f} to {after:.4f}"
        text += "."
        if share is not None and content is not None:
            text += (
                f" Between -1 and +1 the slider makes {share:.0%} of the pair's difference; what both ends have in "
                f"common, the pair's own content, is {content:.1f} times as large, and cancels when it is applied."
            )
            if share < _SMALL_SHARE:
                text += " That is next to nothing: raise the rate or the steps."
            elif content > _LARGE_CONTENT:
                text += " That is much: other photos may suffer; lower the rate, or give more pairs."
        return text
