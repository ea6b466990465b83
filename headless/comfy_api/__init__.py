"""Stand-in for the slice of ComfyUI's `comfy_api.latest` that the nodes use."""
