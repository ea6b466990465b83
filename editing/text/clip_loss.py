"""CLIP losses: how far pictures are from a sentence, or have moved toward it.

cosine: 1 - cos(picture, sentence), as StyleCLIP (2103.17249). directional: 1 - cos(change of the picture, change of
the sentence), as StyleGAN-NADA (2108.00946), which cannot be satisfied by drawing the same person for everyone.
contrast: the sentence against the one to start from, at the scorer's own sharpness. both: the mean of these two. All
are averaged over slightly moved copies where asked for: a score that holds for one framing alone is noise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.inference import no_inference_mode
from ...models.scorers.scorer import TextImageScorer

__all__ = ["SCORES", "TextGoal", "augmented_copies"]

SCORES = ("both", "contrast", "directional", "cosine")
_CONTRAST = 0.2  # a picture that does not fit has a logarithm of about 5: then the score weighs as the others do
TEMPLATES = ("{}", "a portrait of {}", "a photo of {}", "a picture of {}")


class TextGoal:
    """The sentence to reach and the one to start from, as directions in the scorer's space.

    Args:
        scorer: the text-image model.
        prompt: what the picture should show.
        source: what it shows now, in as few words ("a person").
        score: one of SCORES.
        templates: sentences around both texts, averaged; "{}" stands for the text.
        copies: moved copies of each picture that are scored, 0 for the picture alone.
        rng: decides how copies are moved.

    Raises:
        InputError: an unknown score, a template without {}, texts that the scorer cannot tell apart.
    """

    def __init__(
        self,
        scorer: TextImageScorer,
        prompt: str,
        source: str = "a person",
        score: str = "directional",
        templates: tuple[str, ...] = ("{}",),
        copies: int = 0,
        rng: torch.Generator | None = None,
    ) -> None:
        check_choice("score", score, SCORES)
        if any("{}" not in template for template in templates) or not templates:
            raise InputError("Each template needs {} where the text belongs.")
        self.scorer, self.score, self.copies = scorer, score, copies
        self.rng = rng or torch.Generator().manual_seed(0)
        target, start = (_embed_text(scorer, text, templates) for text in (prompt, source))
        self.target, self.start = target, start
        self.sharpness = scorer.logit_scale
        with no_inference_mode():
            self.change = F.normalize(target - start, dim=0)
        if float((target - start).norm()) < 1e-3:
            raise InputError(f"The scorer sees no difference between '{prompt}' and '{source}'; describe a change.")

    def embed(self, pictures: Tensor) -> Tensor:
        """Embed pictures, averaged over moved copies.

        Args:
            pictures: [B, 3, H, W] in -1..1.

        Returns:
            Unit vectors [B, E].
        """
        if self.copies < 1:
            return self.scorer.encode_images(pictures)
        copies = augmented_copies(pictures, self.copies, self.rng)
        embeddings = rearrange(self.scorer.encode_images(copies), "(copies b) e -> copies b e", copies=self.copies)
        return F.normalize(embeddings.mean(dim=0), dim=1)

    def loss(self, edited: Tensor, unedited: Tensor) -> Tensor:
        """Compute the loss of each edited picture.

        Args:
            edited: pictures [B, 3, H, W] in -1..1.
            unedited: embeddings [B, E] of the unedited pictures.

        Returns:
            [B].
        """
        embeddings = self.embed(edited)
        if self.score == "cosine":
            return 1 - embeddings @ self.target
        contrast = F.softplus(self.sharpness * (embeddings @ (self.start - self.target))) * _CONTRAST
        if self.score == "contrast":
            return contrast
        change = self.change[None].expand_as(embeddings)
        directional = 1 - F.cosine_similarity(embeddings - unedited, change, dim=1, eps=1e-4)
        return directional if self.score == "directional" else (contrast + directional) / 2

    def similarity(self, pictures: Tensor) -> Tensor:
        """Compute cos(picture, sentence) of pictures [B, 3, H, W] in -1..1, for people and reports: [B]."""
        with torch.no_grad():
            return self.scorer.encode_images(pictures) @ self.target


def augmented_copies(pictures: Tensor, copies: int, rng: torch.Generator) -> Tensor:
    """Turn each picture ``copies`` times by up to 6 degrees, scale it by up to a tenth, move it by up to 6 %.

    Args:
        pictures: [B, 3, H, W]; gradients flow through.

    Returns:
        [copies * B, 3, H, W], the copies of a picture B apart.
    """
    repeated = repeat(pictures, "b c h w -> (copies b) c h w", copies=copies)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(repeated), generator=rng) * 2 - 1) * limit

    angle, scale = uniform(0.105), 1 + uniform(0.10)
    aspect = pictures.shape[-1] / pictures.shape[-2]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [
        torch.stack([cos, -sin / aspect, uniform(0.06)], dim=1),
        torch.stack([sin * aspect, cos, uniform(0.06)], dim=1),
    ]
    transforms = torch.stack(rows, dim=1)  # [copies * B, 2, 3]
    grid = F.affine_grid(transforms.to(repeated), list(repeated.shape), align_corners=False)
    return F.grid_sample(repeated, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _embed_text(scorer: TextImageScorer, text: str, templates: tuple[str, ...]) -> Tensor:
    """Embed a text in its templates, averaged: a unit vector [E]."""
    # Made outside of inference mode: losses that are optimised read it.
    with no_inference_mode():
        embeddings = scorer.encode_text([template.replace("{}", text) for template in templates])
        return F.normalize(embeddings.mean(dim=0), dim=0)
