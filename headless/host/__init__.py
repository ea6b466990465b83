"""The host without ComfyUI: folders, device, progress bar, diffusers models."""
