"""Editors for the benchmark of one state: each draws its photos at a strength per photo, and brings an example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from semantic_edit.demo import measure
from semantic_edit.editing import apply_edit, plan_strength, record_edit
from semantic_edit.editing.one_for_all.attributes import fit_to_generator, slide_attribute
from semantic_edit.models import GanGenerator, load_generator
from semantic_edit.models.files.direction import read_direction

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
# Slider file: measured attribute, amount of the example's edit in standard deviations.
SLIDERS = {
    "smile": ("smile", 1.5),
    "open_mouth": ("mouth_open", 1.5),
    "open_eyes": ("eye_open", 1.5),
    "turn_head": ("yaw", 1.5),
    "long_hair": ("hair_len", 1.5),
}


@dataclass(frozen=True, eq=False)
class Editor:
    """One edit of many photos by a strength each.

    ``render_some`` draws strengths [M] of the photos whose index [M] is given as pictures [M, 3, H, W].
    """

    name: str
    attribute: str
    render_some: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    before: torch.Tensor  # [B, 3, H, W], unedited
    example: tuple[torch.Tensor, torch.Tensor]  # [K, 3, H, W] before and after
    example_strength: float
    strengths: tuple[float, ...]  # tried first; the range that is allowed
    closed_form: Callable[[], torch.Tensor] | None = None  # -> strengths [B]
    facts: dict[str, float] = field(default_factory=dict)

    def render(self, strengths: torch.Tensor) -> torch.Tensor:
        """Draw all photos at strengths [B]."""
        return self.render_some(strengths, torch.arange(len(self.before)))

    @property
    def goal(self) -> float:
        """The attribute of the example after its edit, by the oracle; of several examples the mean."""
        return float(measure(self.example[1])[self.attribute].mean())


class GanEditors:
    """Edits of a generator's codes along its shipped sliders."""

    def __init__(self, portraits: int, generator: GanGenerator | None = None) -> None:
        self.generator = generator or load_generator(MODELS / "generators" / "demo_portraits.safetensors")
        rng = torch.Generator().manual_seed(100)
        self.codes = self.generator.map(torch.randn(portraits, self.generator.z_dim, generator=rng))
        self.examples = self.generator.map(torch.randn(8, self.generator.z_dim, generator=rng))
        self.before = self.generator.synthesize(self.codes)

    def direction(self, slider: str):
        """The shipped direction."""
        fields = read_direction(MODELS / "directions" / f"{slider}.safetensors")
        return fit_to_generator(self.generator, **{**fields, "name": slider})

    def recorded(self, slider: str, example: int):
        """One portrait moved along a slider: pictures before and after, and the edit whose strength 1 is that move."""
        attribute, amount = SLIDERS[slider]
        direction, start = self.direction(slider), self.examples[example]
        pictures = self.generator.synthesize(start[None])
        up = float(measure(pictures)[attribute]) < float(measure(self.before)[attribute].median())
        edited = slide_attribute(start[None], direction, amount if up else -amount)[0]
        after = self.generator.synthesize(edited[None])
        return (pictures, after), record_edit(self.generator, start, edited)

    def editor(self, slider: str, example: int = 0) -> Editor:
        """The edit along a slider, with one portrait as its example."""
        pictures, edit = self.recorded(slider, example)

        def render_some(strengths: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            return self.generator.synthesize(apply_edit(self.codes[index], edit, strengths))

        return Editor(
            "GAN", SLIDERS[slider][0], render_some, self.before, pictures, 1.0, (-2.0, 0.0, 2.0),
            lambda: plan_strength(edit, self.codes).alpha,
        )  # fmt: skip

    def pair(self, sliders: tuple[str, str], example: int = 0):
        """Two edits at once: what draws strengths [B, 2], and the pictures of both examples."""
        recorded = [self.recorded(slider, example) for slider in sliders]

        def render(strengths: torch.Tensor) -> torch.Tensor:
            codes = self.codes
            for (_, edit), column in zip(recorded, strengths.T, strict=True):
                codes = apply_edit(codes, edit, column)
            return self.generator.synthesize(codes)

        return render, [pictures for pictures, _ in recorded]
