"""A diffusion graph without ComfyUI: loaders, text, VAE, sampling; wrong names are refused before anything runs."""

from __future__ import annotations

import shutil

import pytest
import torch
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.headless.run.runner import NodeFailure, Runner
from semantic_edit.headless.workflow.document import Prompt
from semantic_edit.models.errors import InputError

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, forge_diffusion):
    return forge_diffusion(tmp_path_factory.mktemp("pipeline"), "sd1")


@pytest.fixture
def models(headless_host, folder):
    """The models folder with one pipeline, found by both loaders."""
    top = headless_host.settings.models
    shutil.copytree(folder, top / "diffusers" / "set" / "tiny")
    shutil.copytree(folder, top / "checkpoints" / "tiny")
    (top / "checkpoints" / "single.safetensors").touch()
    return top


def graph(loader="DiffusersLoader", name=None, **sampling):
    name = name or {"DiffusersLoader": "set/tiny", "CheckpointLoaderSimple": "tiny.safetensors"}[loader]
    settings = {"seed": 4, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    wires = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    nodes = {
        "1": (loader, {"model_path" if loader == "DiffusersLoader" else "ckpt_name": name}),
        "2": ("CLIPTextEncode", {"text": "a person with glasses", "clip": ["1", 1]}),
        "3": ("ConditioningZeroOut", {"conditioning": ["2", 0]}),
        "4": ("EmptyLatentImage", {"width": 64, "height": 64, "batch_size": 2}),
        "5": ("KSampler", {**settings, **wires, **sampling}),
        "6": ("VAEDecode", {"samples": ["5", 0], "vae": ["1", 2]}),
        "7": ("VAEEncode", {"pixels": ["6", 0], "vae": ["1", 2]}),
        "8": ("PreviewImage", {"images": ["6", 0]}),
        "9": ("VAEDecode", {"samples": ["7", 0], "vae": ["1", 2]}),
        "10": ("PreviewImage", {"images": ["9", 0]}),
    }
    return Prompt({key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()})


def test_both_loaders_paint_the_same_pictures(models, headless_host):
    results = [Runner(headless_host).run(graph(loader)) for loader in ("DiffusersLoader", "CheckpointLoaderSimple")]
    first, second = (result.values["6"][0][0] for result in results)
    assert first.shape == (2, 16, 16, 3) and torch.equal(first, second)  # eight cells a side of two pixels each
    assert not torch.equal(first[0], first[1])
    assert results[0].values["7"][0][0]["samples"].shape == (2, 4, 8, 8)
    assert len(results[0].ui["8"]["images"]) == 2


def test_the_seed_and_a_lora_change_the_pictures(models, headless_host):
    runner = Runner(headless_host)
    plain = runner.run(graph()).values["6"][0][0]
    assert not torch.equal(plain, runner.run(graph(seed=5)).values["6"][0][0])
    model = runner.run(graph()).values["1"][0][0]
    name = next(name for name, _ in model.network.named_parameters() if name.endswith("conv_in.weight"))
    lora = {f"{model.lora_name(name.removesuffix('.weight'))}.diff": torch.ones(32, 4, 3, 3)}
    loader = runner.nodes["LoraModelLoader"]
    assert loader.execute(model, lora, 0.0)[0] is model
    changed = loader.execute(model, lora, 0.5)[0]
    before, after = (dict(changed_model.network.named_parameters())[name] for changed_model in (model, changed))
    torch.testing.assert_close(after, before + 0.5)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (graph(sampler_name="uni_pc"), "'sampler_name' is 'uni_pc', which is not among the choices: 'euler'"),
        (graph(scheduler="beta"), "'scheduler' is 'beta', which is not among the choices: 'simple'"),
        (graph(name="set/gone"), r"no diffusers folder 'set/gone' in .*Available: set/tiny"),
        (graph("CheckpointLoaderSimple", "single.safetensors"), "single file, which is read inside ComfyUI only"),
        (graph("CheckpointLoaderSimple", "../tiny"), "is not there"),
        (graph(steps=0), "'steps' is 0, but must be at least 1"),
    ],
)
def test_wrong_names_are_refused_before_the_run(models, headless_host, prompt, said):
    with pytest.raises(WorkflowError, match=said):
        Runner(headless_host).run(prompt)


def test_a_damaged_model_is_a_sentence(models, headless_host):
    (models / "diffusers" / "set" / "tiny" / "unet" / "config.json").unlink()
    with pytest.raises(NodeFailure, match="unet of tiny cannot be read") as failure:
        Runner(headless_host).run(graph())
    assert isinstance(failure.value.cause, InputError)


def test_sampling_stops_within_a_step(models, headless_host):
    runner = Runner(headless_host)
    steps = []
    step = headless_host.settings.bar.step

    def stop_at_two(done, total, label):
        steps.append(done)
        if done == 2:
            headless_host.interrupt()
        step(done, total, label)

    headless_host.settings.bar.step = stop_at_two
    with pytest.raises(headless_host.stopped):
        runner.run(graph(steps=9))
    assert steps == [1, 2]
    headless_host.resume()
