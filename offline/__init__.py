"""What the published zip leaves out: training of the demo checkpoints, and the client of a running server."""
