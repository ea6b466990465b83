"""Converter of other projects' checkpoints to the pack's safetensors, offline, without executing a byte of them.

containers.py tells the formats apart and opens them; pickle_reader/ reads pickles as data; nvlabs.py, tensorflow.py,
rosinality.py, progressive.py, irse.py and directions.py know the projects' layouts; assemble.py builds and checks the
network. This package is left out of what the registry publishes: inside ComfyUI no pickle is ever read.
"""

from .convert import convert_file

__all__ = ["convert_file"]
