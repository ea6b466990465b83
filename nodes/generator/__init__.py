"""Nodes: load a generator, sample, select, blend and save codes."""
