"""Train Text Edit: a sentence becomes an edit that knows where and at which layers to act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...editing.common.part_labels import PartLabels
from ...editing.common.rows import parse_rows
from ...editing.common.types import GanLatent
from ...editing.text.clip_loss import SCORES, TEMPLATES, TextGoal
from ...editing.text.figures import loss_chart
from ...editing.text.settings import CHANGES, MASKS, TextEditSettings, l2_weight
from ...editing.text.training import train_text_edit, training_report
from ...host import io
from ...host.registry import identity_networks
from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.losses.identity import IdentityNetwork
from ..common.devices import place
from ..common.latents import check_latent
from ..common.presets import AS_SET, preset_input, with_preset
from ..common.progress import progress_for
from ..common.published import TEXT_EDIT
from ..common.schema import menu_category, search_aliases, seed_input, with_advanced
from ..common.sockets import (
    GanGeneratorType,
    GanLatentType,
    IdentityNetworkType,
    PartLabelsType,
    TextEditType,
    TextImageScorerType,
)
from ._outside import OUTSIDE, outside_input

_NOT_CHECKED = "not checked"
_IDENTITY = 0.3  # weight of staying the same person


class TrainTextEdit(io.ComfyNode):
    """CoralStyleCLIP (2303.05031), in its four variants and one more."""

    @classmethod
    @with_advanced(
        "gentleness",
        "seed",
        "score",
        "wording",
        "copies",
        "rows",
        "picture_height",
        "threshold",
        "smoothness",
        "samples",
        "outside",
        "person",
    )
    def define_schema(cls) -> io.Schema:
        defaults = TextEditSettings()
        return io.Schema(
            node_id="SemanticEditTrainTextEdit",
            display_name="Train Text Edit",
            category=menu_category("text"),
            description="Learns an edit from a sentence: what changes, in which regions, at which layers. Train once, "
            "then use Apply Text Edit on any picture.",
            **search_aliases("StyleCLIP", "CoralStyleCLIP", "prompt", "edit by text", "CLIP"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator to edit with."),
                TextImageScorerType.Input("scorer", tooltip="Judges how well pictures fit the sentence."),
                GanLatentType.Input("latents", tooltip="Pictures to learn from, 16 to 64 sampled ones do well."),
                io.String.Input("prompt", default="a person with glasses", tooltip="What the pictures should show."),
                io.String.Input("source", default="a person", tooltip="What they show now, in few words."),
                io.Combo.Input(
                    "masks",
                    options=list(MASKS),
                    tooltip="regions: choose among the parts. attention: masks drawn by a small network. attention in "
                    "regions: both. none: everywhere, as StyleCLIP.",
                ),
                io.Combo.Input(
                    "changes",
                    options=list(CHANGES),
                    tooltip="direction: the same change for all. mapper: a small network suits it to each picture.",
                ),
                io.Int.Input(
                    "steps", default=defaults.steps, min=1, max=5000, tooltip="Training steps of 4 pictures each."
                ),
                io.Float.Input(
                    "area",
                    default=defaults.area,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="What a larger region costs: raise it when too much changes, lower it when nothing does.",
                ),
                io.Float.Input(
                    "gentleness",
                    display_name="L2 weight",
                    default=defaults.l2,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="What a larger change costs: raise it for subtler edits.",
                ),
                seed_input(tooltip="Decides the order of pictures and the start."),
                PartLabelsType.Input(
                    "parts",
                    optional=True,
                    tooltip="Part labels of these latents; needed where masks has regions.",
                ),
                io.Combo.Input(
                    "score",
                    options=list(SCORES),
                    optional=True,
                    tooltip="contrast: the picture fits the sentence better than the source. directional: it changes "
                    "as the sentence does. both: the two together. cosine: it follows the sentence, as StyleCLIP.",
                ),
                io.Combo.Input(
                    "wording",
                    options=["as written", "several sentences"],
                    optional=True,
                    tooltip="several sentences: also 'a photo of ...' and the like, averaged.",
                ),
                io.Int.Input(
                    "copies",
                    default=0,
                    min=0,
                    max=8,
                    optional=True,
                    tooltip="Slightly moved copies of every picture that are scored; steadier, slower. 0: the picture.",
                ),
                io.String.Input(
                    "rows",
                    default="all",
                    optional=True,
                    tooltip="Layers that may change: all, coarse, middle, fine, or numbers such as 0-5.",
                ),
                io.Int.Input(
                    "picture_height",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    tooltip="Height of the pictures that are scored. 0: the smallest that the scorer sees in full. The "
                    "generator's own: whole pictures, as published, so that the rows of fine layers train too.",
                ),
                io.Float.Input(
                    "threshold",
                    default=defaults.threshold,
                    min=0.0,
                    max=0.9,
                    step=0.05,
                    optional=True,
                    tooltip="Masks fainter than this are cut off.",
                ),
                io.Float.Input(
                    "smoothness",
                    default=defaults.smoothness,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="What ragged masks of attention cost.",
                ),
                io.Int.Input(
                    "samples",
                    default=defaults.start,
                    min=0,
                    max=4096,
                    optional=True,
                    tooltip="Pictures sampled to see what those that fit the sentence have in common: training starts "
                    "there. 0: start from nothing.",
                ),
                outside_input(),
                io.Combo.Input(
                    "person",
                    display_name="identity loss",
                    options=_identity_choices(),
                    optional=True,
                    tooltip="Whether it must stay the same person, judged by the demo world's own network.",
                ),
                preset_input(TEXT_EDIT),
                IdentityNetworkType.Input(
                    "identity_network",
                    optional=True,
                    tooltip="A face recogniser such as ArcFace: it must stay the same person. Counts instead of "
                    "'identity loss'.",
                ),
            ],
            outputs=[
                TextEditType.Output(
                    "text_edit", "text_edit", tooltip="For Apply Text Edit, Save Text Edit and Record Edit."
                ),
                io.Image.Output("losses", "losses", tooltip="How the parts of the loss fell."),
                io.String.Output("report", "report", tooltip="What was chosen, and how far the score came."),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        scorer,
        latents: GanLatent,
        prompt: str,
        source: str,
        masks: str,
        changes: str,
        steps: int,
        area: float,
        gentleness: float,
        seed: int,
        parts: PartLabels | None = None,
        score: str = SCORES[0],
        wording: str = "as written",
        copies: int = 0,
        rows: str = "all",
        picture_height: int = 0,
        threshold: float = 0.1,
        smoothness: float = 0.02,
        samples: int = 256,
        outside: str = OUTSIDE[0],
        person: str = _NOT_CHECKED,
        preset: str = AS_SET,
        identity_network: IdentityNetwork | None = None,
    ) -> io.NodeOutput:
        check_latent(generator, latents)
        check_choice("person", person, _identity_choices())
        for name, text in (("prompt", prompt), ("source", source)):
            if not text.strip():
                raise InputError(f"The {name} is empty; write a short sentence.")
        defaults = TextEditSettings()
        chosen, note = with_preset(
            TEXT_EDIT, preset, masks=masks, changes=changes, steps=steps, area=area, gentleness=gentleness, score=score,
            wording=wording, copies=copies, rows=rows, picture_height=picture_height, threshold=threshold,
            smoothness=smoothness, samples=samples, outside=outside, coordinates=defaults.coordinates,
            rate=defaults.rate, batch=defaults.batch, l2_of="", identity=_IDENTITY,
        )  # fmt: skip
        check_choice("outside", chosen["outside"], OUTSIDE)
        place(generator, scorer, identity_network)
        embed = identity_network
        if embed is None and person != _NOT_CHECKED:
            embed = identity_networks.create(person)
        settings = _settings(generator, scorer, chosen, embed is not None, seed)
        goal = TextGoal(
            scorer, prompt, source, chosen["score"], TEMPLATES if chosen["wording"] != "as written" else ("{}",),
            chosen["copies"], torch.Generator().manual_seed(seed),
        )  # fmt: skip
        trained = train_text_edit(
            generator, goal, latents.codes, parts, prompt, settings, embed,
            source, progress_for(settings.steps, f"learning '{prompt}'"),
        )  # fmt: skip
        lines = [training_report(trained), _plain_rows(settings, trained.edit.rows), note]
        report = "\n".join(line for line in lines if line)
        return io.NodeOutput(trained.edit, loss_chart(trained.losses, prompt)[None], report)


def _settings(
    generator: GanGenerator, scorer, chosen: Mapping[str, Any], with_identity: bool, seed: int
) -> TextEditSettings:
    """Turn the node's choices into settings of a training; published rates and weights are of W, ours of its spread."""
    rows = parse_rows(chosen["rows"], generator.num_layers)
    l2, rate = chosen["gentleness"], chosen["rate"]
    if chosen["l2_of"]:
        l2 = l2_weight(generator, l2, chosen["l2_of"], len(rows))
    if rate != TextEditSettings().rate:
        rate = rate / float(generator.w_covariance.diagonal().mean().sqrt())
    height = chosen["picture_height"] or _smallest_height(generator, scorer)
    return TextEditSettings(
        masks=chosen["masks"], changes=chosen["changes"], coordinates=chosen["coordinates"], steps=chosen["steps"],
        batch=chosen["batch"], rate=rate, l2=l2, area=chosen["area"], smoothness=chosen["smoothness"],
        identity=chosen["identity"] * with_identity, start=chosen["samples"], rows=rows,
        threshold=chosen["threshold"], keep_outside=chosen["outside"] == OUTSIDE[0],
        stop_resolution=None if height is None or height >= generator.resolution[0] else height, seed=seed,
    )  # fmt: skip


def _plain_rows(settings: TextEditSettings, trained: Sequence[int]) -> str:
    """Say which rows were asked for and did not take part; empty where none."""
    plain = sorted(set(settings.rows) - set(trained))
    if not plain:
        return ""
    return (
        f"rows {plain[0]} to {plain[-1]} stay as they are: the scored pictures of {settings.stop_resolution} px do not "
        "show them. For these rows set picture_height to the generator's own height."
    )


def _smallest_height(generator: GanGenerator, scorer) -> int | None:
    """Return the height of the smallest picture that the synthesis can stop at and the scorer still sees in full."""
    if generator.network.config.architecture != "skip":
        return None
    synthesis = generator.network.synthesis
    heights = sorted({synthesis.layer_size(k)[1] for k in range(len(synthesis.layers))})
    return next((height for height in heights if height >= scorer.image_size[0]), heights[-1])


def _identity_choices() -> list[str]:
    """Return the entries of `person`: no check, and every registered identity network."""
    return [_NOT_CHECKED, *identity_networks.names()]
