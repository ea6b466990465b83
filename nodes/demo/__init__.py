"""Nodes: the demo world."""
