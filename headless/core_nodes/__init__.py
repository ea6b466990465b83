"""Stand-ins for the nodes of ComfyUI's core that workflows use."""
