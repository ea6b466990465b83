"""Gradients through networks that were written for sampling alone."""
