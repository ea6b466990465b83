"""The middle of a diffusion MODEL as a network to read with."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ... import host
from ...editing.imagic.conditioning import single_conditioning
from ...editing.one_for_all.features import FeatureSpace, network_space
from ...editing.state import middle_features
from ...models.errors import InputError
from .images import to_image_batch


def middle_space(model: Any, vae: Any, conditioning: Any) -> FeatureSpace:
    """Return the features of a MODEL's middle block, of pictures that its VAE encodes.

    Args:
        conditioning: CONDITIONING of one entry: what all pictures show.

    Raises:
        InputError: one of the three is missing.
    """
    connected = {"model": model, "vae": vae, "conditioning": conditioning}
    missing = [name for name, value in connected.items() if value is None]
    if missing:
        raise InputError(
            f"To read with a diffusion model, connect model, vae and conditioning (such as 'a person'); missing: "
            f"{', '.join(missing)}."
        )
    entry = single_conditioning(conditioning, for_training=True)
    diffusion = host.current().diffusion

    def read(pictures: Tensor) -> Tensor:
        with host.no_inference_mode():  # others may have pushed the model out of the memory since
            denoiser = diffusion.denoiser(model)
            features = middle_features(
                denoiser, lambda batch: diffusion.encode(vae, to_image_batch(batch)), (entry.embedding, entry.extras)
            )
            return features(pictures)

    return network_space("the diffusion model's middle", read)
