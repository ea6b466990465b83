"""Tune Photos: Imagic's first two stages for a batch, in one job."""

from __future__ import annotations

from ... import host
from ...editing.common.diffusion.lora import BLOCKS
from ...editing.imagic.batch import TunedPhoto, model_key, photo_key, tune_photos
from ...editing.imagic.conditioning import single_conditioning
from ...editing.imagic.embedding import EmbeddingSettings
from ...editing.imagic.tuning import TuneSettings
from ...host import io
from ...models.errors import InputError, check_choice
from ...models.files.atomic import write_new
from ...models.files.imagic import LearnedLora, write_imagic
from ..common.diffusion import blocks_input, draws_input, free_memory, latent_of, rank_input
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, seed_input
from ._inputs import ImagicPhotosType
from ._rendering import learned_before


class TunePhotos(io.ComfyNode):
    """Each photo is learned on its own; with a name to save under, a stopped job goes on where it was."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditTunePhotos",
            display_name="Tune Photos",
            category=menu_category("imagic"),
            description="Learns every photo of a batch, one after the other: embedding and LoRA each. Then Sweep "
            "Photos and Reach Common State bring all of them to the same state of one sentence.",
            **search_aliases("Imagic", "LoRA training", "batch photo edit"),
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model. It is not changed."),
                io.Vae.Input("vae", tooltip="Turns the photos into latents."),
                io.Image.Input("photos", tooltip="The photos, a batch of one size."),
                io.Conditioning.Input("target", tooltip="The sentence that all photos shall follow."),
                io.Int.Input("embedding_steps", default=100, min=1, max=10000, tooltip="Steps of stage 1, per photo."),
                io.Float.Input(
                    "embedding_rate", default=0.01, min=0.0001, max=1.0, step=0.0001, tooltip="As Optimize Embedding's."
                ),
                io.Int.Input("tuning_steps", default=100, min=1, max=20000, tooltip="Steps of stage 2, per photo."),
                io.Float.Input(
                    "tuning_rate", default=0.0, min=0.0, max=0.1, step=1e-6, round=1e-7, tooltip="As Tune Model's."
                ),
                rank_input(16, "Rank of each LoRA."),
                draws_input(4),
                seed_input(tooltip="Decides noise and start; the same for every photo."),
                io.Conditioning.Input("start", optional=True, tooltip="A caption that fits all photos as they are."),
                io.Boolean.Input("joint", default=False, optional=True, tooltip="Both stages at once (Forgedit)."),
                io.String.Input(
                    "save_as",
                    default="",
                    optional=True,
                    tooltip="Save each photo's edit under this name as soon as it is learned; run again, photos that "
                    "were learned with the same settings are read instead. Empty: keep in memory only.",
                ),
                blocks_input("As Tune Model's.", optional=True),
                io.Boolean.Input(
                    "checkpointing", default=False, optional=True, tooltip="As Tune Model's: less memory."
                ),
            ],
            outputs=[
                ImagicPhotosType.Output("learned", "learned", tooltip="The learned photos, for Sweep Photos."),
                io.String.Output("report", "report", tooltip="How each photo went."),
            ],
        )

    @classmethod
    def execute(
        cls, model, vae, photos, target, embedding_steps: int, embedding_rate: float, tuning_steps: int,
        tuning_rate: float, rank: int, draws: int, seed: int, start=None, joint: bool = False, save_as: str = "",
        blocks: str = "all", checkpointing: bool = False,
    ) -> io.NodeOutput:  # fmt: skip
        check_choice("blocks", blocks, BLOCKS)
        if photos.ndim != 4 or not len(photos):
            raise InputError(f"The photos have shape {list(photos.shape)}; expected an IMAGE [B, H, W, 3].")
        sentence = single_conditioning(target, "target", for_training=True)
        caption = None if start is None else single_conditioning(start, "start", for_training=True)
        embedding = EmbeddingSettings(embedding_steps, embedding_rate, draws, seed=seed)
        tuning = TuneSettings(
            steps=tuning_steps, rate=tuning_rate, rank=rank, draws=draws, joint=joint, embedding_rate=embedding_rate,
            seed=seed, blocks=(blocks,), checkpointing=checkpointing,
        )  # fmt: skip
        if save_as.strip():
            host.safe_name(save_as)  # before the work, not after it
        diffusion = host.current().diffusion
        latents = latent_of({"samples": diffusion.encode(vae, photos)})
        denoiser = diffusion.denoiser(model)
        saved = {}
        if save_as.strip():
            model_id = model_key(denoiser)
            keys = [photo_key(model_id, photo, sentence, caption, embedding, tuning) for photo in photos]
            saved = learned_before(save_as.strip(), keys)

        def save(photo: TunedPhoto) -> None:
            if save_as.strip():
                _save(photo, save_as)

        learned = tune_photos(
            denoiser, photos, latents, sentence, [f"#{k + 1}" for k in range(len(photos))], embedding, tuning, caption,
            free_memory(denoiser), save, saved,
            progress_for(len(photos) * (tuning_steps + (0 if joint else embedding_steps)), "learning photos"),
        )  # fmt: skip
        return io.NodeOutput(learned, learned.report())


def _save(photo: TunedPhoto, name: str) -> None:
    """Write a learned photo to a numbered file, with the key by which a later job knows it."""
    conditioning = photo.conditioning
    provenance: dict[str, object] = {"photo": photo.name, "key": photo.key, "report": photo.report}
    if isinstance(photo.lora, LearnedLora):
        provenance["learning"] = photo.lora.learning
    path = host.current().save_path("imagic", name)
    embedding, extras = conditioning.embedding, conditioning.extras
    write_new(
        path,
        lambda path: write_imagic(path, embedding, extras, photo.lora, provenance=provenance, exclusive=True),
    )
