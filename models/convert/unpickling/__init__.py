"""Unpickling: the instructions of a pickle, run by a machine that has nothing to call."""
