"""Models: networks, and reading and writing their files without executing anything."""

from .checkpoint import read_metadata, read_safetensors, write_safetensors
from .errors import CheckpointError, InputError
from .gan.generator import GanGenerator, load_generator, save_generator
from .gan.progan import ProgressiveConfig, ProgressiveGAN
from .gan.stylegan2 import StyleGAN2, StyleGAN2Config
from .gan.stylegan3 import StyleGAN3, StyleGAN3Config

__all__ = [
    "CheckpointError",
    "GanGenerator",
    "InputError",
    "ProgressiveConfig",
    "ProgressiveGAN",
    "StyleGAN2",
    "StyleGAN2Config",
    "StyleGAN3",
    "StyleGAN3Config",
    "load_generator",
    "read_metadata",
    "read_safetensors",
    "save_generator",
    "write_safetensors",
]
