"""Nodes: the demo world, whose readers, part labeller and photos register here for the nodes of other stages."""

from ._readers import register_demo_world

register_demo_world()
