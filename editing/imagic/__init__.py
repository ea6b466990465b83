"""Imagic (2210.09276): bend one photo toward a sentence with a diffusion model."""
