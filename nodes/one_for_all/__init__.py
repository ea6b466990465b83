"""Nodes: record one edit and give it to everyone."""
