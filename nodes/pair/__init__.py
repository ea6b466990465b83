"""Before/after pairs as sliders on diffusion models."""
