"""Sweep Photos: every learned photo over the same etas."""

from __future__ import annotations

import functools

import torch

from ... import host
from ...editing.common.figures import contact_sheet
from ...editing.imagic.batch import PhotoEdits, TunedPhoto, sweep_photos
from ...editing.imagic.conditioning import single_conditioning
from ...editing.imagic.interpolation import FORMS, parse_etas
from ...editing.imagic.sampling import NOISES, Renderer
from ...host import io
from ...models.errors import check_choice
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases
from ..common.sockets import TextImageScorerType
from ._inputs import ImagicPhotosType, ImagicSweepsType, noise_input, sampling_inputs, sampling_of, seeds_from
from ._rendering import renderer_for, sentence_score


class SweepPhotos(io.ComfyNode):
    """What each photo reaches at each eta; the choice among them is Reach Common State's."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSweepPhotos",
            display_name="Sweep Photos",
            category=menu_category("imagic"),
            description="Paints every learned photo at several etas and scores the pictures. The costly part, done "
            "once; Reach Common State then chooses one eta per photo.",
            **search_aliases("Imagic", "compare strengths", "batch grid"),
            inputs=[
                io.Model.Input("model", tooltip="The model that the photos were learned with."),
                io.Vae.Input("vae", tooltip="Turns latents into pictures."),
                ImagicPhotosType.Input("learned", tooltip="From Tune Photos."),
                io.Conditioning.Input("target", tooltip="The sentence, from the same CLIP."),
                io.Conditioning.Input("negative", tooltip="As in KSampler."),
                TextImageScorerType.Input("scorer", tooltip="Judges how well pictures fit the sentence."),
                io.String.Input("prompt", default="", tooltip="The sentence, for the scorer."),
                io.String.Input("source", default="a person", tooltip="What the photos show now, in few words."),
                io.String.Input("etas", default="0.2 to 1.2 in 6", tooltip="Values, or 'FROM to TO in COUNT'."),
                io.Int.Input(
                    "seeds",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Seeds per eta; scores are averaged over them. The photo's own noise is one.",
                ),
                *sampling_inputs(),
                io.Combo.Input("form", options=list(FORMS), optional=True, tooltip="As in Interpolate Embedding."),
                noise_input(),
            ],
            outputs=[
                ImagicSweepsType.Output("sweeps", "sweeps", tooltip="For Reach Common State."),
                io.Image.Output(
                    "sheet", "sheet", tooltip="A row for each photo: the photo, then its pictures, eta rising."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, vae, learned: PhotoEdits, target, negative, scorer, prompt: str, source: str, etas: str, seeds: int,
        seed: int, steps: int, cfg: float, sampler_name: str, scheduler: str, form: str = FORMS[0],
        noise: str = NOISES[0],
    ) -> io.NodeOutput:  # fmt: skip
        check_choice("form", form, FORMS)
        check_choice("noise", noise, NOISES)
        sampling, values = sampling_of(steps, cfg, sampler_name, scheduler), parse_etas(etas)
        end, score = single_conditioning(target, "target"), sentence_score(scorer, prompt, source)
        diffusion = host.current().diffusion

        @functools.cache  # a photo's own noise is found once
        def renderer(photo: TunedPhoto) -> Renderer:
            tuned = diffusion.apply_lora(model, photo.lora)
            return renderer_for(tuned, vae, negative, {"samples": photo.latent}, sampling, noise)

        seeds = 1 if noise == NOISES[1] else seeds  # they would paint the same
        sweeps = sweep_photos(
            learned, end, renderer, values, seeds_from(seed, seeds), score, form,
            progress_for(len(learned) * len(values) * seeds, "sweeping photos"),
        )  # fmt: skip
        rows = [[sweep.photo, *sweep.images[:, 0]] for sweep in sweeps.sweeps]
        sheet = contact_sheet(rows, list(sweeps.names), max(1, 96 // rows[0][0].shape[1]))
        return io.NodeOutput(sweeps, torch.as_tensor(sheet)[None])
