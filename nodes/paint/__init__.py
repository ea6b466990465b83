"""Nodes: paint objects into photos."""
