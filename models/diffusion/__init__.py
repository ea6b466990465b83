"""Diffusion models from diffusers folders, for use without ComfyUI."""
