"""What a further stroke costs once a photo is adapted: its donor and the picture, each a part of a synthesis, joining.

    python benchmarks/paint_stroke.py [--repeats 7] [--threads 2] [--device cpu]

At 256 px with random weights of the full width (channel base 32768, at most 512), at 256 px of half that width (what
rosinality's and most community files of 256 px have), and on the demo generator. The bar is one second on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from _harness import interleaved, machine_facts, say, table
from semantic_edit.editing.concepts import ConceptUnits
from semantic_edit.editing.dissection import middle_layer
from semantic_edit.editing.painted_photo import Canvas, render_painted_photo
from semantic_edit.editing.strokes import paint_concept
from semantic_edit.models import StyleGAN2, StyleGAN2Config, load_generator
from semantic_edit.models.generator import GanGenerator, family_fingerprint

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
    for generator in (random_generator(32768), random_generator(16384), demo):
        generator = generator.to(options.device)
        height, width = generator.resolution
        mask = torch.zeros(1, height, width)
        mask[:, height // 8 : height // 2, width // 4 : -width // 4] = 1
        concepts = concepts_of(generator)
        codes = generator.map(torch.randn(1, generator.z_dim))
        photo = generator.synthesize(codes).clamp(-1, 1)
        candidates = {"whole synthesis": lambda g=generator, c=codes: g.synthesize(c)}
        for form in ("donor", "units"):
            painting = None
            for strokes in (1, 2, 3):
                painting = paint_concept(generator, concepts, "hat", mask, form=form, painting=painting)
                if strokes == 2 and form == "units":
                    continue
                canvas = Canvas(generator, codes)
                label = f"{form}, {strokes} stroke{'s' if strokes > 1 else ''}"
                candidates[label] = lambda canvas=canvas, painting=painting, photo=photo: finished(
                    render_painted_photo(canvas, painting, photo)
                )
        taken = interleaved(candidates, options.repeats)
        rows += [[generator.name, name, f"{times.median * 1e3:.0f} ms"] for name, times in taken.items()]
    say(table(("generator", "what", "median"), rows))


def finished(result):
    if result.composite.is_cuda:
        torch.cuda.synchronize()
    return result


if __name__ == "__main__":
    main()
