"""Encoders: networks that predict codes of W+ from pictures, in one forward pass."""
