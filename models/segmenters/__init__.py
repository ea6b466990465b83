"""Segmenters: networks that say where things are in a picture, with gradients."""
