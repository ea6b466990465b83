"""File formats of the pack, one module each."""
