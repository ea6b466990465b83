"""One training step of a text edit against a straightforward implementation: time, memory, and the same numbers.

The straightforward one is written below as the paper's figure reads: in every step the plain picture is drawn (for its
embedding, and for the features that attention and the outside need), every layer runs twice from the first one on, once
for each branch, and the whole edit is drawn. Ours shares what comes before the first edited row, runs one branch where
one is enough, and draws and measures what stays the same once before a training.

Both get the same codes, masks and losses; losses and gradients are compared first. Memory is what autograd keeps for
the backward pass, and what ours keeps for the whole training is named beside it.

python benchmarks/text_step.py [--threads 1] [--repeats 9]
"""

from __future__ import annotations

import argparse

import torch
from _harness import graph_bytes, interleaved, machine_facts, ratio, say, table
from semantic_edit.editing.text.clip_loss import TextGoal
from semantic_edit.editing.text.optimizers import create_optimizers
from semantic_edit.editing.text.settings import TextEditSettings, trained_rows
from semantic_edit.editing.text.trainable_edit import TrainableEdit
from semantic_edit.editing.text.training import UneditedCache, step_losses
from semantic_edit.kernels import upsample2d
from semantic_edit.models.gan.layer_blend import KeepOutside, resized_mask
from semantic_edit.models.gan.synthesis_run import SynthesisOptions
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from text_edits import World

_BATCH = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    allow_declaring()
    say(f"{machine_facts()}; {options.threads} thread(s), batch {_BATCH}\n")
    world = World(4)
    rows = []
    for height in (64, 128):
        for name, more in (
            ("regions", {}),
            ("regions, rows 4 and up", {"rows": tuple(range(4, 12))}),
            ("attention in regions", {"masks": "attention in regions"}),
        ):
            step = Step(world, TextEditSettings(**more, stop_resolution=height, seed=1))
            ours, theirs = step.ours(), step.straightforward()
            far = max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in zip(ours, theirs, strict=True))
            times = interleaved({"ours": step.ours, "theirs": step.straightforward}, options.repeats)
            kept = step.cache_bytes() / 2**20
            memory = [graph_bytes(run) / 2**20 for run in (step.loss, step.plain_loss)]
            rows.append(
                (name, height, *(f"{times[k].median * 1e3:.0f}" for k in ("ours", "theirs")),
                 ratio(times["theirs"], times["ours"]), *(f"{m:.0f}" for m in memory), f"{kept:.0f}", f"{far:.0e}")
            )  # fmt: skip
            say(" | ".join(map(str, rows[-1])))
    head = ("masks", "px", "ours, ms", "straightforward, ms", "times faster", "ours, MiB", "straightforward, MiB",
            "kept for 24 pictures, MiB", "gradients differ by")  # fmt: skip
    say("\n" + table(head, rows))


class Step:
    """The same step both ways."""

    def __init__(self, world: World, settings: TextEditSettings) -> None:
        self.generator, self.settings, self.parts = world.generator, settings, world.learned_parts
        self.goal = TextGoal(world.scorer, "a person with a hat", score="both")
        rng = torch.Generator().manual_seed(3)
        with torch.enable_grad():
            rows = trained_rows(self.generator, settings)
            self.model = TrainableEdit(self.generator, world.learned, self.parts, rows, settings, rng)
        with torch.no_grad():
            self.model.offset.mul_(20)
        self.cache = UneditedCache(self.generator, self.goal, world.learned, self.model, settings, None)
        self.indices = torch.arange(_BATCH)

    def parameters(self) -> list[torch.Tensor]:
        """All that is learned."""
        optimizers = create_optimizers(self.model, self.settings)
        return [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]

    def cache_bytes(self) -> int:
        """What is kept from the start of a training to its end."""
        return sum(t.numel() * t.element_size() for t in (*self.cache.features.values(), self.cache.embeddings))

    def ours(self) -> list[torch.Tensor]:
        return self._gradients(self.loss())

    def straightforward(self) -> list[torch.Tensor]:
        return self._gradients(self.plain_loss())

    def loss(self) -> torch.Tensor:
        with torch.enable_grad():
            terms, _ = step_losses(self.generator, self.goal, self.model, self.cache, self.indices, self.settings, None)
            return torch.stack(list(terms.values())).sum()

    def plain_loss(self) -> torch.Tensor:
        """The same losses, straightforwardly."""
        settings, synthesis = self.settings, self.generator.network.synthesis
        with torch.enable_grad():
            codes = self.cache.codes[self.indices]
            with torch.no_grad():
                run = synthesis(
                    codes, SynthesisOptions(stop_resolution=settings.stop_resolution, want_features=self._layers())
                )
                before = self.goal.embed(run.image)
            change, units = self.model.change(codes)
            edited = codes + change
            masks = self.model.masks(self.generator, self.indices, run.features)
            hook = KeepOutside(self.model.reach_masks(self.indices, masks), run.features)
            blended = two_passes(synthesis, codes, edited, masks, hook, settings.stop_resolution)
            whole = synthesis(edited, SynthesisOptions(stop_resolution=settings.stop_resolution)).image
            found = [mask for mask in masks if mask is not None]
            loss = (1 - settings.full) * self.goal.loss(blended, before).mean()
            loss = loss + settings.full * self.goal.loss(whole, before).mean()
            sizes = torch.stack([mask.mean() for mask in found])
            loss = loss + settings.area * (sizes.mean() + self.model.selected_share())
            loss = loss + settings.l2 * units.square().sum(dim=(1, 2)).mean() / len(self.model.rows)
            if self.model.attention is not None:
                variations = [m.diff(dim=-1).abs().mean() + m.diff(dim=-2).abs().mean() for m in found]
                loss = loss + settings.smoothness * torch.stack(variations).mean()
            return loss

    def _layers(self) -> list[int]:
        synthesis, height = self.generator.network.synthesis, self.settings.stop_resolution
        return [k for k in range(len(synthesis.layers)) if synthesis.layer_size(k)[1] <= height]

    def _gradients(self, loss: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad(loss, self.parameters(), allow_unused=True)
        return [g for g in found if g is not None]


def two_passes(synthesis, codes, edited, masks, hook, height: int) -> torch.Tensor:
    """Layer by layer, branch by branch, as the figure of 2303.05031 reads."""
    x = synthesis.b4.const[None].expand(len(codes), -1, -1, -1)
    image = None
    for layer, (index, name) in enumerate(synthesis.layers):
        block = synthesis.block(index)
        if block.size[0] > height:
            break
        conv = getattr(block, name)
        noise = conv.noise_const[None, None]
        plain = conv(x, codes[:, layer], noise)
        changed = conv(x, edited[:, layer], noise)
        x = hook(layer, mixed(plain, changed, masks[layer]))
        if name == "conv1":
            image = None if image is None else upsample2d(image, block.resample_filter)
            row = layer + 1
            rgb = mixed(block.torgb(x, codes[:, row]), block.torgb(x, edited[:, row]), masks[row])
            image = rgb if image is None else image + rgb
    return image


def mixed(plain: torch.Tensor, changed: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """m e + (1 - m) p."""
    if mask is None:
        return plain
    mask = resized_mask(mask, plain.shape[-2:])
    return mask * changed + (1 - mask) * plain


if __name__ == "__main__":
    with torch.no_grad():
        main()
