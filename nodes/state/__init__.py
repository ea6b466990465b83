"""Nodes: read what pictures show, and give each the strength that brings it to one state, with any editor."""
