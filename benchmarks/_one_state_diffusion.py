"""Two editors on the demo diffusion model for the benchmark of one state: a slider learned from one pair, and Imagic.

The slider is learned once and kept in a folder. Imagic learns every photo, which is dear: a few photos, one sentence.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from _edit_methods import Task, Workshop
from _one_state_editors import Editor
from semantic_edit.demo.portraits.factors import INDEX, sample_factors
from semantic_edit.demo.portraits.render import render
from semantic_edit.editing import PairEdit, PairSettings, apply_pair_edit, learn_pair_edit
from semantic_edit.editing.imagic.conditioning import conditioning_list
from semantic_edit.editing.imagic.interpolation import interpolate
from semantic_edit.editing.imagic.sampling import Sampling
from semantic_edit.editing.pair.applying import photos_to_noise
from semantic_edit.editing.pair.settings import PairSampling
from semantic_edit.models.files.pair_edit import read_pair_edit, write_pair_edit
from torch import Tensor

SIZE = 128  # px
CACHE = Path(tempfile.gettempdir()) / "semantic_edit_one_state"
# Attribute -> states of the pair, rising: photos shown are those below the second.
PAIRS = {
    "hair_len": (0.25, 0.75), "yaw": (-0.3, 0.3), "smile": (-0.5, 0.8), "mouth_open": (0.0, 0.8),
    "eye_open": (0.4, 0.9),
}  # fmt: skip
SENTENCES = {"hair_len": ("a person with long hair", "a person with short hair")}
ETAS = (0.4, 0.9, 1.4)


def portraits(count: int, attribute: str, most: float, seed: int = 808) -> Tensor:
    """Factors [count, F] of bare-headed people below a state."""
    factors = sample_factors(40 * count, torch.Generator().manual_seed(seed))
    return factors[(factors[:, INDEX["hat"]] < 0.5) & (factors[:, INDEX[attribute]] < most)][:count]


class DiffusionEditors:
    """The demo model, as the benchmarks of pair edits and of Imagic set it up."""

    def __init__(self, folder: Path) -> None:
        sampling = Sampling(steps=12, sampler="dpmpp_2m", scheduler="karras", cfg=3)
        self.workshop = Workshop(folder, None, sampling=sampling)
        self.bundle = self.workshop.bundle
        self.entry = self.bundle.clip.encode("a person")

    def encode(self, pictures: Tensor) -> Tensor:
        return self.bundle.vae.encode((pictures.movedim(1, -1) + 1) / 2)

    def decode(self, latents: Tensor) -> Tensor:
        return self.bundle.vae.decode(latents).movedim(-1, 1) * 2 - 1

    def pair(self, attribute: str, photos: int, pairs: int = 1, one_pass: bool = False) -> Editor:
        """A slider from rendered pairs; strength 1 is what was learned."""
        low, high = PAIRS[attribute]
        examples = sample_factors(60, torch.Generator().manual_seed(5))
        examples = examples[examples[:, INDEX["hat"]] < 0.5][:pairs].repeat(2, 1)
        examples[:, INDEX[attribute]] = torch.tensor([low, high]).repeat_interleave(pairs)
        before, after = self.decode(self.encode(render(examples, SIZE).images)).split(pairs)
        edit, model = self._slider(attribute, before, after), self.bundle.model
        shown = render(portraits(photos, attribute, high), SIZE).images
        latents, sampling = self.encode(shown), PairSampling(at_once=16, one_pass=one_pass)
        inverted = photos_to_noise(model, latents, self.entry, sampling)

        def render_some(strengths: Tensor, index: Tensor) -> Tensor:
            return self.decode(
                apply_pair_edit(
                    model, latents[index], edit, strengths.float(), self.entry, sampling, inverted=inverted[index]
                )
            )

        return Editor(
            "pair slider", attribute, render_some, self.decode(latents), (before, after), 2.0, (0.0, 2.0, 4.0),
        )  # fmt: skip

    def _slider(self, attribute: str, before: Tensor, after: Tensor):
        """Learn it, or read what an earlier run learned of the same pictures with the same model."""
        weights = sum(float(weight.double().sum()) for weight in self.bundle.model.network.parameters())
        shown = float(torch.cat([before, after]).double().sum())
        file = CACHE / f"{attribute} {weights:.6f} {shown:.4f}.safetensors"
        if file.exists():
            return PairEdit(**read_pair_edit(file))
        with torch.enable_grad():
            edit = learn_pair_edit(
                self.bundle.model, self.encode(before), self.encode(after), self.entry, PairSettings()
            )
        CACHE.mkdir(exist_ok=True)
        write_pair_edit(file, edit.lora, edit.model)
        return edit

    def imagic(self, attribute: str, photos: int, preset: str = "quick") -> Editor:
        """One sentence for all photos, each learned by a preset and painted from its own noise.

        The strength is eta. The example is one photo more, at eta 1.
        """
        sentence, source = SENTENCES[attribute]
        shown = (render(portraits(photos + 1, attribute, 0.5), SIZE).images.movedim(1, -1) + 1) / 2
        target, painters = self.workshop.said(sentence), []
        for k in range(photos + 1):
            task = Task(f"photo {k}", shown[k : k + 1], sentence, source)
            with torch.enable_grad():
                learned = self.workshop.learn(preset, task)
            painters.append((self.workshop.renderer(learned, task), learned.conditioning))

        def paint(k: int, eta: float) -> Tensor:
            renderer, conditioning = painters[k]
            return renderer.render(conditioning_list(interpolate(conditioning, target, eta)), 0).movedim(-1, 0) * 2 - 1

        def render_some(etas: Tensor, index: Tensor) -> Tensor:
            return torch.stack([paint(k, eta) for k, eta in zip(index.tolist(), etas.tolist(), strict=True)])

        before = shown.movedim(-1, 1) * 2 - 1
        after = paint(photos, 1.0)[None]
        return Editor("Imagic", attribute, render_some, before[:photos], (before[photos:], after), 1.0, ETAS)
