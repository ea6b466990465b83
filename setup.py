"""Finds the packages: this folder itself is ``semantic_edit``, which a pattern in pyproject.toml cannot say."""

from setuptools import find_packages, setup

NAME = "semantic_edit"
NOT_INSTALLED = ("benchmarks*", "build*", "docs*", "tests*", "tools*")

setup(packages=[NAME, *(f"{NAME}.{package}" for package in find_packages(exclude=NOT_INSTALLED))])
