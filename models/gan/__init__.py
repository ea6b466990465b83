"""Generators and everything that runs inside their synthesis."""
