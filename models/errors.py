"""Errors whose text is written for the person who wired the graph or typed the command."""


class InputError(ValueError):
    """A wrong input: one sentence that says what was expected, what came, and what to do."""


class CheckpointError(InputError):
    """A file that cannot be read as the checkpoint it is meant to be."""
