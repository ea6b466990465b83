"""Nodes: real photographs in, and edited ones back out."""
