"""What editing methods share on diffusion models: the denoiser, low-rank changes beside its weights, their training."""
