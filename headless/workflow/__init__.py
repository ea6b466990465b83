"""Workflow files, from JSON to a prompt that can run."""
