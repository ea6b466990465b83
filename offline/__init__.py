"""Offline tools, which the published zip leaves out: training of the demo checkpoints, and a client of a server."""
