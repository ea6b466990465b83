"""Nodes: text edits with regions and layers."""
