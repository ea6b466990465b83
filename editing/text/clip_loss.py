"""How far pictures have moved toward a sentence: the losses of text edits.

cosine: 1 - cos(picture, sentence), as StyleCLIP (2103.17249). directional: 1 - cos(change of the picture, change of
the sentence), as StyleGAN-NADA (2108.00946), which cannot be satisfied by drawing the same person for everyone. Both
are averaged over slightly moved copies where asked for: a score that holds for one framing alone is noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import no_inference_mode
from ...models.scorers.scorer import TextImageScorer

__all__ = ["SCORES", "TextGoal", "moved_copies"]

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
        if score not in SCORES:
            raise InputError(f"Unknown score '{score}'; expected one of {', '.join(SCORES)}.")
        if any("{}" not in template for template in templates) or not templates:
            raise InputError("Each template needs {} where the text belongs.")
        self.scorer, self.score, self.copies = scorer, score, copies
        self.rng = rng or torch.Generator().manual_seed(0)
        target, start = (_averaged(scorer, text, templates) for text in (prompt, source))
        self.target, self.start = target, start
        self.sharpness = scorer.sharpness
        with no_inference_mode():
            self.change = F.normalize(target - start, dim=0)
        if float((target - start).norm()) < 1e-3:
            raise InputError(f"The scorer sees no difference between '{prompt}' and '{source}'; describe a change.")

    def embed(self, pictures: Tensor) -> Tensor:
        """Unit vectors [B, E] of pictures [B, 3, H, W] in -1..1, averaged over moved copies."""
        if self.copies < 1:
            return self.scorer.encode_images(pictures)
        copies = moved_copies(pictures, self.copies, self.rng)
        found = self.scorer.encode_images(copies).unflatten(0, (self.copies, len(pictures)))
        return F.normalize(found.mean(dim=0), dim=1)

    def loss(self, edited: Tensor, before: Tensor) -> Tensor:
        """Edited pictures [B, 3, H, W] and embeddings [B, E] of the unedited ones -> loss per picture, [B]."""
        found = self.embed(edited)
        if self.score == "cosine":
            return 1 - found @ self.target
        contrast = F.softplus(self.sharpness * (found @ (self.start - self.target))) * _CONTRAST
        if self.score == "contrast":
            return contrast
        turned = 1 - F.cosine_similarity(found - before, self.change[None].expand_as(found), dim=1, eps=1e-4)
        return turned if self.score == "directional" else (contrast + turned) / 2

    def reached(self, pictures: Tensor) -> Tensor:
        """cos(picture, sentence) of each picture, [B]: for people and reports."""
        with torch.no_grad():
            return self.scorer.encode_images(pictures) @ self.target


def moved_copies(pictures: Tensor, copies: int, rng: torch.Generator) -> Tensor:
    """Each picture ``copies`` times, turned up to 6 degrees, scaled by up to a tenth, moved by up to 6 %.

    [B, 3, H, W] -> [copies * B, 3, H, W], the copies of a picture B apart; gradients flow through.
    """
    batch = len(pictures)
    many = pictures.repeat(copies, 1, 1, 1)
    draw: Callable[[float], Tensor] = lambda size: (torch.rand(copies * batch, generator=rng) * 2 - 1) * size  # noqa: E731
    angle, scale = draw(0.105), 1 + draw(0.10)
    aspect = pictures.shape[-1] / pictures.shape[-2]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos, -sin / aspect, draw(0.06)], dim=1), torch.stack([sin * aspect, cos, draw(0.06)], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1).to(many), list(many.shape), align_corners=False)
    return F.grid_sample(many, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _averaged(scorer: TextImageScorer, text: str, templates: tuple[str, ...]) -> Tensor:
    # Made outside of inference mode: losses that are optimised read it.
    with no_inference_mode():
        found = scorer.encode_text([template.replace("{}", text) for template in templates])
        return F.normalize(found.mean(dim=0), dim=0)
