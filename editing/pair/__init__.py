"""Before/after pairs on diffusion models: one edited photo becomes a slider for all others, on one's own MODEL."""
