"""The demo diffusion model as native objects on a real server, beside the headless run of the same workflow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semantic_edit.demo.assets import demo_diffusion
from semantic_edit.headless import use_headless
from semantic_edit.headless.commands.cli import main
from semantic_edit.models.errors import InputError
from semantic_edit.offline.server import run_on_server

pytest.importorskip("diffusers")
SAVED = {"sampled": 5, "there and back": 8, "less noise": 10}
SENTENCES = ("a person with (long:1.2) ginger hair and glasses, smiling", "")


@pytest.fixture(scope="module", autouse=True)
def shipped():
    try:
        return demo_diffusion()
    except InputError as error:
        pytest.skip(str(error))


def graph(sampler: str, scheduler: str) -> dict:
    settings = {"seed": 12, "steps": 8, "cfg": 4.0, "sampler_name": sampler, "scheduler": scheduler}
    wires = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0]}
    nodes = {
        "1": ("SemanticEditLoadDemoDiffusion", {}),
        "2": ("CLIPTextEncode", {"text": SENTENCES[0], "clip": ["1", 1]}),
        "3": ("CLIPTextEncode", {"text": SENTENCES[1], "clip": ["1", 1]}),
        "4": ("EmptyLatentImage", {"width": 128, "height": 128, "batch_size": 2}),
        "5": ("KSampler", {**settings, **wires, "latent_image": ["4", 0], "denoise": 1.0}),
        "6": ("LoadImage", {"image": "portrait.png"}),
        "8": ("VAEEncode", {"pixels": ["6", 0], "vae": ["1", 2]}),
        "10": ("KSampler", {**settings, **wires, "latent_image": ["8", 0], "denoise": 0.5}),
    }
    for name, source in SAVED.items():
        nodes[f"d{source}"] = ("VAEDecode", {"samples": [str(source), 0], "vae": ["1", 2]})
        file = f"diffusion/{sampler} {name}"
        nodes[f"s{source}"] = ("SaveImage", {"images": [f"d{source}", 0], "filename_prefix": file})
    return {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}


@pytest.mark.parametrize(
    ("sampler", "scheduler"), [("euler", "normal"), ("ddim", "ddim_uniform"), ("dpmpp_2m", "karras")]
)
def test_a_seed_gives_one_picture_in_both(comfyui, tmp_path, capsys, sampler, scheduler):
    """Two implementations of one network: at most two levels of 255 apart, and hardly anywhere."""
    photo = Path(__file__).resolve().parents[2] / "demo" / "photos" / "ada.png"
    with Image.open(photo) as picture:
        picture.convert("RGB").resize((128, 128), Image.Resampling.BOX).save(comfyui.base / "input" / "portrait.png")
    document = graph(sampler, scheduler)
    over_http = run_on_server(comfyui.url, document, [], None, tmp_path / "http", print)
    (tmp_path / "graph.json").write_text(json.dumps(document))
    # In this process: ComfyUI's Python need not have diffusers.
    capsys.readouterr()
    folders = ["--input", str(comfyui.base / "input"), "--output", str(tmp_path / "headless")]
    assert main(["run", str(tmp_path / "graph.json"), "--device", "cpu", *folders]) == 0
    use_headless()
    ours = {Path(line).name: Path(line) for line in capsys.readouterr().out.splitlines() if line.endswith(".png")}
    assert sorted(ours) == sorted(path.name for path in over_http) and len(ours) == 4
    for path in over_http:
        first, second = (np.asarray(Image.open(each)).astype(int) for each in (path, ours[path.name]))
        apart = np.abs(first - second)
        assert first.shape == (128, 128, 3) and first.std() > 20
        assert apart.max() <= 2 and apart.mean() < 0.05, f"{path.name}: {apart.max()}, {apart.mean():.4f}"
