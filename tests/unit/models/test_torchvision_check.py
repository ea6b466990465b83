"""The check of torchvision: missing, of another torch, or fine; nothing is imported."""

from __future__ import annotations

import importlib.util
from importlib import metadata

import pytest
from semantic_edit.models.loading.torchvision_check import torchvision_problem


@pytest.fixture
def installed(monkeypatch):
    """installed(torch=..., torchvision=..., requires=...): what is there, as importlib.metadata tells it."""

    def choose(torch, torchvision, requires=()):
        def version(name):
            found = {"torch": torch, "torchvision": torchvision}[name]
            if found is None:
                raise metadata.PackageNotFoundError(name)
            return found

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(metadata, "requires", lambda name: list(requires))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if torchvision is None else object())

    return choose


def test_a_missing_torchvision_is_named_with_what_pip_would_do(installed):
    installed("2.9.1+cu128", None)
    problem = torchvision_problem()
    assert "torchvision is not installed" in problem and "in place of your 2.9.1+cu128" in problem


@pytest.mark.parametrize("requirement", ["torch==2.8.0", "torch (==2.8.0)"])
def test_a_torchvision_for_another_torch_is_named(installed, requirement):
    installed("2.9.1+cpu", "0.23.0", ["numpy", requirement, "pillow!=8.3.*,>=5.3.0"])
    problem = torchvision_problem()
    assert "torchvision 0.23.0 is made for torch 2.8.0, and 2.9.1+cpu is installed" in problem


@pytest.mark.parametrize("requires", [["numpy", "torch==2.9.1"], ["torch>=2.0"], []])
def test_a_fitting_or_unpinned_one_is_no_problem(installed, requires):
    installed("2.9.1+cu128", "0.24.1", requires)
    assert torchvision_problem() is None
