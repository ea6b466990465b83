"""Helpers of all stages: sockets, schema, images, latents, files, devices and progress."""
