"""Text-image scorers: open_clip models from files."""
