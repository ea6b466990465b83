"""Both hosts offer the same diffusion side: the protocol's methods, with the protocol's parameters."""

from __future__ import annotations

import inspect

import pytest
from semantic_edit.editing.common.diffusion.denoiser import Denoiser
from semantic_edit.headless.host.diffusion import HeadlessDiffusion
from semantic_edit.host.comfyui_denoiser import ComfyDenoiser
from semantic_edit.host.comfyui_diffusion import ComfyDiffusion
from semantic_edit.host.diffusion import DiffusionBackend
from semantic_edit.models.diffusion.model import DiffusionModel


def methods(protocol):
    return {
        name: member
        for name, member in vars(protocol).items()
        if not name.startswith("_") and inspect.isfunction(member)
    }


def parameters(method):
    return [
        (argument.name, argument.kind, argument.default) for argument in inspect.signature(method).parameters.values()
    ]


CASES = [
    (DiffusionBackend, ComfyDiffusion),
    (DiffusionBackend, HeadlessDiffusion),
    (Denoiser, ComfyDenoiser),
    (Denoiser, DiffusionModel),
]


@pytest.mark.parametrize(("protocol", "implementation"), CASES, ids=lambda case: case.__name__)
def test_an_implementation_has_the_methods_of_its_protocol(protocol, implementation):
    assert len(methods(protocol)) > 5
    for name, method in methods(protocol).items():
        assert parameters(getattr(implementation, name)) == parameters(method), name


@pytest.mark.parametrize("implementation", [ComfyDenoiser, DiffusionModel], ids=lambda case: case.__name__)
def test_a_denoiser_has_the_properties_of_the_protocol(implementation):
    names = [name for name, member in vars(Denoiser).items() if isinstance(member, property)]
    assert set(names) == {"device", "dtype", "sigma_min", "sigma_max"}
    assert all(isinstance(getattr(implementation, name), property) for name in names)
