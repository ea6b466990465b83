"""What a further stroke costs once a photo is adapted: its donor and the picture, each a part of a synthesis, joining.

    python benchmarks/paint_stroke.py [--repeats 7] [--threads 2] [--device cpu]

At 256 px with random weights of the full width (channel base 32768, at most 512), at 256 px of half that width (what
rosinality's and most community files of 256 px have), at 1024 px, and on the demo generator. The stroke's mask is 3/16
of the picture. The bar is one second on two cores at 256 px.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

import torch
from _harness import interleaved, machine_facts, say, table
from semantic_edit.editing.paint.concepts import ConceptUnits
from semantic_edit.editing.paint.dissection import middle_layer
from semantic_edit.editing.paint.painted_photo import Canvas, render_painted_photo
from semantic_edit.editing.paint.strokes import paint_concept
from semantic_edit.models import StyleGAN2, StyleGAN2Config, load_generator
from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"


def random_generator(base: int, size: int = 256) -> GanGenerator:
    """A StyleGAN2 of random weights."""
    count = size.bit_length() - 2
    channels = tuple(min(512, base // (4 * 2**k)) for k in range(count))
    network = StyleGAN2(StyleGAN2Config(z_dim=512, w_dim=512, channels=channels)).requires_grad_(False).eval()
    return GanGenerator(network, family_fingerprint(network), f"random {size} px, base {base}")


def concepts_of(generator: GanGenerator) -> ConceptUnits:
    """One concept with random numbers: its cost is that of any other."""
    layer = middle_layer(generator)
    units, rng = generator.network.synthesis.layer_size(layer)[0], torch.Generator().manual_seed(0)
    step = torch.randn(1, 1, generator.w_dim, generator=rng)
    one = torch.rand(1, units, generator=rng)
    levels = torch.tensor([[-1e3, 1e3]])
    return ConceptUnits(
        layer, ("hat",), one, one, one[0], one, one, one, torch.ones(1), step, step[:, 0], levels, generator.family
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    say(machine_facts())
    demo = load_generator(MODELS / "generators" / "demo_portraits.safetensors")
    rows = []
    for generator in (random_generator(32768), random_generator(16384), random_generator(32768, 1024), demo):
        generator = generator.to(options.device)
        height, width = generator.resolution
        mask = torch.zeros(1, height, width)
        mask[:, height // 8 : height // 2, width // 4 : -width // 4] = 1
        concepts = concepts_of(generator)
        codes = generator.map(torch.randn(1, generator.z_dim))
        photo = generator.synthesize(codes).clamp(-1, 1)
        candidates = {"whole synthesis": lambda g=generator, c=codes: g.synthesize(c)}
        for form in ("donor", "units"):
            for before in (0, 2):
                painting = None
                for _ in range(before):
                    painting = paint_concept(generator, concepts, "hat", mask, form=form, painting=painting)
                canvas = Canvas(generator, codes)
                if painting is not None:
                    render_painted_photo(canvas, painting, photo)
                candidates[f"{form}, stroke {before + 1}"] = Stroke(canvas, concepts, mask, form, painting, photo)
        taken = interleaved(candidates, options.repeats)
        rows += [
            [generator.name, name, f"{times.median * 1e3:.0f} ms", f"{median(times.cpu) * 1e3:.0f} ms"]
            for name, times in taken.items()
        ]
    say(table(("generator", "what", "time, median", "processor time of all threads"), rows))


class Stroke:
    """One more stroke on what is painted already, drawn and joined: a new one each time, as a person paints them."""

    def __init__(self, *parts) -> None:
        self.canvas, self.concepts, self.mask, self.form, self.painting, self.photo = parts

    def __call__(self) -> None:
        painting = paint_concept(
            self.canvas.generator, self.concepts, "hat", self.mask, form=self.form, painting=self.painting
        )
        result = render_painted_photo(self.canvas, painting, self.photo)
        if result.composite.is_cuda:
            torch.cuda.synchronize()


if __name__ == "__main__":
    main()
