"""Diffusion models from diffusers folders, for use without ComfyUI."""

from .folder import DiffusionBundle, load_diffusion

__all__ = ["DiffusionBundle", "load_diffusion"]
