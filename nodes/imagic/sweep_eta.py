"""Sweep Eta: a grid of pictures over eta and seed, and the eta that follows from it."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...editing.common.progress import stage
from ...editing.imagic.conditioning import Conditioning, conditioning_list, single_conditioning
from ...editing.imagic.figures import sweep_plot, sweep_sheet
from ...editing.imagic.interpolation import FORMS, interpolate, parse_etas
from ...editing.imagic.sampling import NOISES
from ...editing.imagic.sweep import join_sweeps, sweep_eta
from ...host import io
from ...models.errors import InputError, check_choice
from ..common.diffusion import latent_of
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases
from ..common.sockets import TextImageScorerType
from ._inputs import check_photo, noise_input, sampling_inputs, sampling_of, seeds_from
from ._rendering import renderer_for, sentence_score


class SweepEta(io.ComfyNode):
    """The authors' open question, which eta, answered by looking."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSweepEta",
            display_name="Sweep Eta",
            category=menu_category("imagic"),
            description="Paints the edit at several etas and seeds, measures how well each fits the sentence and how "
            "far it is from the photo, warns when the camera moved instead, and chooses an eta.",
            **search_aliases("Imagic", "compare strengths", "XY plot", "grid"),
            inputs=[
                io.Model.Input("model", tooltip="The tuned model, from Tune Model or Apply Tuning."),
                io.Vae.Input("vae", tooltip="Turns latents into pictures."),
                io.Conditioning.Input("optimised", tooltip="The photo's embedding."),
                io.Conditioning.Input("target", tooltip="The sentence, from the same CLIP."),
                io.Conditioning.Input("negative", tooltip="As in KSampler; an empty sentence does well."),
                io.Latent.Input("latent", tooltip="The photo, from VAE Encode: where the noise is put on."),
                io.Image.Input("photo", tooltip="The photo itself, to compare with. One photo."),
                io.String.Input("etas", default="0.2 to 1.2 in 6", tooltip="Values, or 'FROM to TO in COUNT'."),
                io.Int.Input(
                    "seeds",
                    default=2,
                    min=1,
                    max=16,
                    tooltip="Seeds per eta; scores are averaged over them. The photo's own noise is one.",
                ),
                *sampling_inputs(),
                io.Combo.Input("form", options=list(FORMS), optional=True, tooltip="As in Interpolate Embedding."),
                TextImageScorerType.Input(
                    "scorer", optional=True, tooltip="Judges how well pictures fit the sentence; needed for the choice."
                ),
                io.String.Input("prompt", default="", optional=True, tooltip="The sentence, for the scorer."),
                io.String.Input(
                    "source", default="a person", optional=True, tooltip="What the photo shows, in few words."
                ),
                noise_input(),
                io.Conditioning.Input(
                    "caption", optional=True,
                    tooltip="What the photo shows where the sentence differs, such as 'a person with no glasses'. "
                    "Every eta is then painted guided away from this as well, and the better picture is chosen.",
                ),
                io.Model.Input(
                    "second_model", optional=True,
                    tooltip="The photo learned once more, by Tune Model with another seed. Every eta is then painted "
                    "by both, and the better picture is chosen: where one learning loses the person, another keeps it.",
                ),
                io.Conditioning.Input(
                    "second_optimised", optional=True,
                    tooltip="The embedding that the second model was tuned under. Left out: optimised.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "sheet", "sheet", tooltip="All pictures, eta to the right, seeds downward; the choice framed."
                ),
                io.Image.Output(
                    "images", "images", tooltip="The pictures of the first seed, or of the chosen row, eta rising."
                ),
                io.Image.Output("plot", "plot", tooltip="Score and distance over eta."),
                io.Float.Output("eta", "eta", tooltip="The chosen eta, for Interpolate Embedding."),
                io.Conditioning.Output(
                    "conditioning", "conditioning", tooltip="The embedding at the chosen eta, for KSampler."
                ),
                io.String.Output("report", "report", tooltip="Why this eta, and what to watch."),
                io.Conditioning.Output(
                    "chosen_negative", "chosen_negative",
                    tooltip="The negative or the caption, whichever was chosen; for the sampler.",
                ),
                io.Model.Output(
                    "chosen_model", "chosen_model",
                    tooltip="The model or the second one, whichever was chosen; for the sampler.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, vae, optimised, target, negative, latent, photo, etas: str, seeds: int, seed: int, steps: int,
        cfg: float, sampler_name: str, scheduler: str, form: str = FORMS[0], scorer=None, prompt: str = "",
        source: str = "a person", noise: str = NOISES[0], caption=None, second_model=None, second_optimised=None,
    ) -> io.NodeOutput:  # fmt: skip
        check_choice("form", form, FORMS)
        check_choice("noise", noise, NOISES)
        sampling = sampling_of(steps, cfg, sampler_name, scheduler)
        end, values = single_conditioning(target, "target"), parse_etas(etas)
        score = None if scorer is None else sentence_score(scorer, prompt, source)
        check_photo(photo, latent_of(latent))
        ways = _ways((model, second_model), (optimised, second_optimised), (negative, caption))
        if len(ways) > 1 and score is None:
            name = "second model" if caption is None else "caption"
            raise InputError(f"A {name} needs a scorer, which chooses between the two; connect one.")
        for way in ways:
            interpolate(way.start, end, values[0], form)  # texts that do not go together: said before any is painted
        seeds = 1 if noise == NOISES[1] or len(ways) > 1 else seeds  # more would paint the same
        total, sweeps = len(values) * seeds, []
        progress = progress_for(total * len(ways), "sweeping eta")
        for k, way in enumerate(ways):
            renderer = renderer_for(way.model, vae, way.negative, latent, sampling, noise)
            report = stage(progress, k * total, total * len(ways))
            sweeps.append(
                sweep_eta(renderer, way.start, end, photo, values, seeds_from(seed, seeds), form, score, report)
            )
        sweep = sweeps[0] if len(ways) == 1 else join_sweeps(sweeps, [way.name for way in ways])
        chosen = ways[sweep.best_row or 0]
        conditioning = conditioning_list(interpolate(chosen.start, end, sweep.best_eta, form))
        plot = sweep_plot(sweep, prompt or "eta")
        return io.NodeOutput(
            sweep_sheet(sweep)[None], sweep.images[:, sweep.best_row or 0], plot[None], sweep.best_eta, conditioning,
            sweep.report(), chosen.negative, chosen.model,
        )  # fmt: skip


class _Way(NamedTuple):
    """One of the ways that a sweep is painted in: a learning of the photo, and what guidance leads away from."""

    name: str
    model: Any
    start: Conditioning
    negative: list


def _ways(models: tuple, embeddings: tuple, negatives: tuple) -> list[_Way]:
    """Pair each model that is connected with each negative; names say what differs.

    Args:
        models, embeddings, negatives: the first of each, and the second or None.

    Raises:
        InputError: an embedding of a second model without one.
    """
    if models[1] is None and embeddings[1] is not None:
        raise InputError("second_optimised is connected without a second_model; connect the model tuned under it.")
    starts = [single_conditioning(embeddings[0], "optimised")]
    if models[1] is not None:
        second = embeddings[1]
        starts.append(starts[0] if second is None else single_conditioning(second, "second_optimised"))
    ways = []
    for model, start, learning in zip(models, starts, ("the model", "the second model"), strict=False):
        for negative, away in zip(negatives, ("the negative", "the caption"), strict=True):
            if negative is not None:
                parts = [f"by {learning}"] * (len(starts) > 1) + [f"away from {away}"] * (negatives[1] is not None)
                ways.append(_Way(", ".join(parts), model, start, negative))
    return ways
