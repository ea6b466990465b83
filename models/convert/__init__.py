"""Converter of other projects' checkpoints to the pack's safetensors, without executing a byte of them.

containers.py tells the formats apart and opens them; unpickling/ reads pickles as data; nvlabs.py, tensorflow.py,
rosinality.py, progressive.py, irse.py and directions.py know the projects' layouts; assemble.py builds and checks the
network. The command `semantic-edit convert` and the node Convert Checkpoint call it, and nothing else does; Python's
own pickle and torch.load are never used.
"""

from .convert import convert_file

__all__ = ["convert_file"]
