"""Tiny random diffusers folders of three kinds, as a user's model folder would look. Needs diffusers."""

from __future__ import annotations

from pathlib import Path

import torch
from semantic_edit.models.loading.libraries import import_diffusers, import_transformers
from semantic_edit.offline.train_demo.diffusion_text import write_tokenizer

WORDS = {"a", "person", "with", "glasses", "and", "red", "hat", "smiling", "long", "hair", ","}


def forge(folder: Path, kind: str = "sd1", prediction: str = "epsilon", seed: int = 3) -> Path:
    """Write a pipeline of a kind ("sd1", "sd2" or "sdxl") with random weights; returns the folder."""
    diffusers, transformers = import_diffusers(), import_transformers()
    write_tokenizer(folder / "words", WORDS)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(str(folder / "words"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {
            "vae": vae(diffusers),
            "unet": unet(diffusers, kind),
            "text_encoder": text_encoder(transformers, tokenizer, False),
            "tokenizer": tokenizer,
            "scheduler": diffusers.EulerDiscreteScheduler(
                beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
            ),
        }
        if kind == "sdxl":
            parts |= {"text_encoder_2": text_encoder(transformers, tokenizer, True), "tokenizer_2": tokenizer}
            pipeline = diffusers.StableDiffusionXLPipeline(**parts)
        else:
            pipeline = diffusers.StableDiffusionPipeline(
                **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
            )
    pipeline.save_pretrained(folder / kind, safe_serialization=True)
    return folder / kind


def vae(diffusers):
    return diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        sample_size=16,
    )


def unet(diffusers, kind: str):
    more = {}
    if kind == "sd2":
        more = {"use_linear_projection": True}
    elif kind == "sdxl":
        more = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 6 * 8 + 24,
            "use_linear_projection": True,
        }
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=56 if kind == "sdxl" else 32,
        attention_head_dim=2,
        **more,
    )


def text_encoder(transformers, tokenizer, second: bool):
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=24 if second else 32,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=24 if second else 32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (transformers.CLIPTextModelWithProjection if second else transformers.CLIPTextModel)(config)
