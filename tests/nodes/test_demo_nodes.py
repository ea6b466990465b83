"""The demo stage as ComfyUI runs it."""

from __future__ import annotations

import json

import pytest
import torch
from semantic_edit.demo.assets import demo_diffusion
from semantic_edit.demo.measure import measure
from semantic_edit.demo.portraits.factors import LIVE_NAMES
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.models import InputError
from semantic_edit.models.diffusion.sampling import sample


def test_all_photos(run_node):
    (images, names, parts), _ = run_node("LoadDemoPhotos")
    assert images.shape == (16, 256, 256, 3) and 0 <= images.min() and images.max() <= 1
    assert len(names.splitlines()) == 16 and names.splitlines() == sorted(names.splitlines())
    assert isinstance(parts, PartLabels) and parts.masks.shape == (16, 9, 256, 256)


def test_some_photos_at_the_generators_size(run_node, tiny_generator):
    (images, names, parts), _ = run_node("LoadDemoPhotos", first=2, limit=3, generator=tiny_generator)
    assert images.shape == (3, 32, 32, 3) and len(names.splitlines()) == 3
    assert parts.resized(16, 16).shape == (3, 9, 16, 16)


def test_one_photo_by_name(run_node):
    (images, names, parts), _ = run_node("LoadDemoPhotos", photo="gus", size=64)
    assert images.shape == (1, 64, 64, 3) and names == "gus"
    assert parts.part("hat").mean() > 0.03
    with pytest.raises(InputError, match="labelled: background"):
        parts.part("tail")


@pytest.mark.parametrize(
    ("inputs", "said"),
    [({"photo": "nobody"}, "no demo photo 'nobody'"), ({"first": 16}, "there are 16"), ({"size": 7}, "at least 16")],
)
def test_wrong_photos_are_refused(run_node, inputs, said):
    with pytest.raises(InputError, match=said):
        run_node("LoadDemoPhotos", **inputs)


@pytest.mark.parametrize("method", ["network", "redraw"])
def test_parts_of_photos_match_their_truth(run_node, method):
    (images, _, truth), _ = run_node("LoadDemoPhotos", limit=4, size=96)
    (parts, preview), _ = run_node("DemoParts", images=images, method=method)
    assert parts.names == truth.names and preview.shape == (4, 96, 96, 3)
    agreed = (parts.masks.argmax(1) == truth.masks.argmax(1)).float().mean()
    assert agreed > (0.9 if method == "network" else 0.8)


def test_an_unknown_method_is_refused(run_node):
    with pytest.raises(InputError, match="expected one of network, redraw"):
        run_node("DemoParts", images=torch.zeros(1, 64, 64, 3), method="magic")


def test_measurements_are_a_table_and_a_chart(run_node):
    (images, names, _), _ = run_node("LoadDemoPhotos", size=96)
    (chart, measured), _ = run_node("MeasurePortraits", images=images)
    table = json.loads(measured)
    assert set(table) == set(LIVE_NAMES) and all(len(column) == 16 for column in table.values())
    hats = dict(zip(names.splitlines(), table["hat"], strict=True))
    assert hats["gus"] > 0.5 and hats["milo"] > 0.5 and hats["bela"] < 0.5
    assert chart.ndim == 4 and chart.shape[0] == 1 and chart.shape[3] == 3


def test_measuring_before_and_after(run_node):
    (images, _, _), _ = run_node("LoadDemoPhotos", limit=6, size=96)
    mirrored = images.flip(2)
    (_, measured), _ = run_node("MeasurePortraits", images=mirrored, before=images)
    after = json.loads(measured)
    assert len(after["identity"]) == 6 and max(after["identity"]) <= 1.0001
    (_, plain), _ = run_node("MeasurePortraits", images=images)
    before = json.loads(plain)
    turned = torch.tensor(after["yaw"]) + torch.tensor(before["yaw"])
    assert turned.abs().mean() < 0.15  # a mirrored head looks the other way
    with pytest.raises(InputError, match="connect the same"):
        run_node("MeasurePortraits", images=images, before=images[:2])


def test_the_demo_diffusion_model_paints_what_is_said(run_node):
    pytest.importorskip("diffusers")
    try:
        demo_diffusion()
    except InputError as error:
        pytest.skip(str(error))
    (model, clip, vae), _ = run_node("LoadDemoDiffusion")
    texts = ("a person with glasses", "a person with no glasses", "")
    glasses, bare, nothing = (clip.encode_from_tokens_scheduled(text) for text in texts)
    calls = {}
    for name, said in (("glasses", glasses), ("bare", bare)):
        latent = torch.zeros(4, 4, 16, 16)
        samples = sample(model, latent, said, nothing, "dpmpp_2m", "karras", steps=8, cfg=4.0, seed=1)
        pictures = vae.decode(samples)
        assert pictures.shape == (4, 128, 128, 3)
        calls[name] = measure(pictures.movedim(-1, 1) * 2 - 1)["glasses"]
    assert (calls["glasses"] > 0.5).sum() >= 3 and (calls["bare"] < 0.5).sum() >= 3


def test_a_missing_demo_model_is_a_sentence(run_node, monkeypatch, tmp_path):
    monkeypatch.setattr("semantic_edit.demo.assets._DEMO", tmp_path)
    with pytest.raises(InputError, match="demo diffusion model is missing from this installation"):
        run_node("LoadDemoDiffusion")
