"""Registries: what a world brings is offered under its name, and made only when it is used."""

from __future__ import annotations

import pytest
from semantic_edit.host.registry import Registry
from semantic_edit.models.errors import InputError


def test_values_are_made_when_they_are_used_in_the_order_of_names():
    calls = []
    readers: Registry[str] = Registry("reader")
    readers.register("b", lambda: calls.append("b") or "second")
    readers.register("a", lambda: "first")
    assert readers.names() == ("b", "a") and calls == []
    assert readers.create("b") == "second" and calls == ["b"]


def test_the_same_name_again_replaces():
    readers: Registry[int] = Registry("reader")
    readers.register("a", lambda: 1)
    readers.register("a", lambda: 2)
    assert readers.names() == ("a",) and readers.create("a") == 2


def test_an_unknown_name_is_a_sentence():
    readers: Registry[int] = Registry("reader")
    readers.register("a", lambda: 1)
    with pytest.raises(InputError, match="Unknown reader 'x'; expected one of a"):
        readers.create("x")


def test_the_demo_world_registers_when_its_nodes_are_loaded():
    from semantic_edit.host import registry
    from semantic_edit.nodes import node_classes

    node_classes()
    assert registry.feature_spaces.names() == registry.identity_networks.names() == ("demo portraits",)
    assert registry.photo_folders.names() == ("(demo photos)",)
    labeller = registry.part_labellers.create("demo portraits")
    assert "hair" in labeller.names and labeller.score is not None
