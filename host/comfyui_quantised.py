"""ComfyUI's quantised weights, which wrap several tensors, outside of the inference mode that they were made in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from ..models.inference import no_inference_mode

__all__ = ["has_wrapped_weights", "rewrapped"]


def has_wrapped_weights(network: nn.Module) -> bool:
    """Tell whether a network holds weights that are wrappers around several tensors."""
    return any(is_traceable_wrapper_subclass(weight) for weight in network.parameters())


@contextlib.contextmanager
def rewrapped(network: nn.Module) -> Iterator[None]:
    """Let wrapped weights of inference mode enter graphs while inside; their memory is shared, not copied.

    ComfyUI moves such weights under inference mode, which fails on normal ones: so its own come back afterwards.
    """
    originals = [
        (module, name, weight)
        for module in network.modules()
        for name, weight in module._parameters.items()
        if weight is not None and weight.is_inference() and is_traceable_wrapper_subclass(weight)
    ]
    with no_inference_mode():
        for module, name, weight in originals:
            module._parameters[name] = nn.Parameter(_rewrap(weight), requires_grad=False)
    try:
        yield
    finally:
        for module, name, weight in originals:
            module._parameters[name] = weight


def _rewrap(weight: Tensor) -> Tensor:
    names, context = weight.__tensor_flatten__()
    inner = {name: getattr(weight, name) for name in names}
    return type(weight).__tensor_unflatten__(inner, context, weight.size(), weight.stride())
