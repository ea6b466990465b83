"""Description of content that is not read: what its names look like, for the sentence that refuses it."""

from __future__ import annotations

import re
from typing import Any

from .modules import MAX_NESTING, is_module, state_dict, unwrap
from .stored import Opaque, StoredArray, StoredTensor

MAX_NAMES = 20_000
_ENCODER = re.compile(r"(^|\.)encoder\.")
# What distinguishes published networks; the first pattern that a name matches tells the kind.
_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"lora_(up|down|A|B)\b", "a LoRA of a diffusion or language model"),
        (r"backbone\.synthesis\.|superresolution\.", "a three-dimensional generator (EG3D)"),
        (r"synthesis\.input\.(transform|freqs|affine)|synthesis\.L\d{1,2}_", "a StyleGAN3 generator (alias-free)"),
        (r"g_mapping\.|g_synthesis\.|(^|\.)progression\.\d|(^|\.)style\.\d{1,2}\.linear\.", "a StyleGAN1 generator"),
        (r"hypernet|refinement_blocks", "a hypernetwork (HyperStyle)"),
        (r"diffusion_model\.|(^|\.)down_blocks\.|(^|\.)input_blocks\.|(^|\.)double_blocks\.", "a diffusion model"),
        (r"(^|\.)(text_model|vision_model|visual)\.|(^|\.)logit_scale$", "a CLIP model"),
        (r"(^|\.)(exp_avg|exp_avg_sq|param_groups|momentum_buffer)\b", "the state of an optimiser"),
        (r"(^|\.)(D|discriminator)\.|(^|\.)final_(conv|linear)\.|(^|\.)b4\.(out|fc|conv)\.", "a discriminator"),
        (r"(^|\.)mapping\.fc0\.|(^|\.)synthesis\.", "a generator of another kind than StyleGAN2"),
        (r"(^|\.)input_layer\.|(^|\.)body\.\d", "a face network or an encoder of another kind"),
        (r"(^|\.)(fc|classifier|head|logits|cls)\.(weight|bias)$", "a classifier"),
        (r"(^|\.)encoder\.", "an encoder of another kind"),
        (r"\.(attn|attention|self_attn)\b", "a transformer"),
        (r"\.running_(mean|var)$", "a convolutional network"),
        (r"(^|[._])(weight|bias)$", "the weights of a network"),
    )
)


def describe_content(content: Any) -> str:
    """Describe content for a sentence: "a dictionary of 3 entries (a, b, c), which looks like a classifier"."""
    kind = appearance(content)
    return _form(content) + (f", which looks like {kind}" if kind else "")


def appearance(content: Any) -> str:
    """Return what kind of network the names belong to, "" when they say nothing."""
    names = tensor_names(content)
    for pattern, kind in _KINDS:
        if any(pattern.search(name) for name in names):
            has_encoder = kind.startswith("a StyleGAN3") and any(_ENCODER.search(name) for name in names)
            return f"an encoder over {kind}" if has_encoder else kind
    return ""


def tensor_names(content: Any) -> list[str]:
    """List the dotted names of tensors and numbers in nested dictionaries and saved modules, MAX_NAMES at most."""
    names: list[str] = []
    level = [("", content)]
    for _ in range(MAX_NESTING):
        inner: list[tuple[str, Any]] = []
        for prefix, value in level:
            value = unwrap(value)
            if is_module(value):
                names += [prefix + name for name in state_dict(value)]
            elif isinstance(value, dict):
                inner += [(f"{prefix}{str(key)[:120]}.", child) for key, child in value.items()]
            elif prefix and isinstance(value, StoredTensor | StoredArray | int | float | list | tuple):
                names.append(prefix.removesuffix("."))
        level = inner[: MAX_NAMES - len(names)]
    return names[:MAX_NAMES]


def _form(content: Any) -> str:
    if isinstance(content, dict):
        names = ", ".join(str(key)[:40] for key in list(content)[:5])
        return f"a dictionary of {len(content)} entries ({names})" if content else "an empty dictionary"
    return f"a {content.name[:80]}" if isinstance(content, Opaque) else f"a {type(content).__name__}"
