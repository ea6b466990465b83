"""Nodes: bend a photo toward a sentence with a diffusion model."""
