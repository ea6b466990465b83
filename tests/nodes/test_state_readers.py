"""Reader nodes: what they read and need; ComfyUI's own detector and CLIP vision by their documented shapes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from semantic_edit.demo import measure, render, sample_factors
from semantic_edit.demo.portraits.factors import INDEX
from semantic_edit.models import InputError


def portraits(count, seed=3, **factors):
    """Portraits [B, H, W, 3] in 0..1 with their factors."""
    rows = sample_factors(count, torch.Generator().manual_seed(seed))
    for name, value in factors.items():
        rows[:, INDEX[name]] = torch.as_tensor(value)
    images = render(rows, 64).images
    return rows, images.add(1).div(2).clamp(0, 1).movedim(1, 3)


def pictures_of(images):
    return images.movedim(3, 1) * 2 - 1


def example(name, low, high):
    rows = sample_factors(1, torch.Generator().manual_seed(5)).repeat(2, 1)
    rows[:, INDEX[name]] = torch.tensor([low, high])
    return render(rows, 64).images.add(1).div(2).clamp(0, 1).movedim(1, 3)


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([torch.as_tensor(a).float(), torch.as_tensor(b).float()]))[0, 1])


@pytest.mark.parametrize("features", ["demo portraits", "demo_portraits.safetensors"])
def test_an_example_teaches_to_read_other_portraits(run_node, features):
    pair = example("hair_len", 0.1, 0.9)
    rows, images = portraits(48)
    (reader, report), _ = run_node(
        "ReadFromExample", before=pair[:1], after=pair[1:], features=features, name="hair", pictures=images
    )
    readings = reader.read(pictures_of(images))[:, 0]
    assert correlation(readings, rows[:, INDEX["hair_len"]]) > 0.75
    assert reader.names == ("hair",) and reader.target.tolist() == [1.0] and "the noise" in report
    (joined, _), _ = run_node("ReadFromExample", before=pair, features=features, name="hair", pictures=images)
    torch.testing.assert_close(joined.read(pictures_of(images))[:, 0], readings)


def test_a_scorer_or_clip_vision_reads_in_place_of_a_file(run_node):
    pair = example("hair_len", 0.0, 1.0)

    def embed(pictures):
        return torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)

    seen = []

    def encode_image(images):  # as ComfyUI's CLIP_VISION is called
        assert images.shape[-1] == 3 and 0 <= images.min() and images.max() <= 1
        seen.append(len(images))
        return {"image_embeds": embed(pictures_of(images))}

    scorer = SimpleNamespace(encode_images=embed, name="tiny")
    for network in ({"scorer": scorer}, {"clip_vision": SimpleNamespace(encode_image=encode_image)}):
        (reader, report), _ = run_node("ReadFromExample", before=pair, features="automatic", **network)
        assert reader.read(pictures_of(pair))[:, 0].tolist() == pytest.approx([0, 1], abs=1e-4), report
    assert seen
    for inputs, sentence in (
        ({}, "no network is connected"),
        ({"scorer": scorer, "before": pair[:1]}, "expected pairs"),
        ({"scorer": scorer, "before": pair[:1], "after": pair[:1]}, "see no difference"),
        ({"clip_vision": object()}, "Load CLIP Vision"),
        ({"features": "nobody"}, "Unknown features"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_node("ReadFromExample", **{"before": pair, "features": "automatic", **inputs})


def test_text_is_read_with_the_shipped_scorer(run_node):
    (scorer,), _ = run_node("LoadTextImageScorer", file="demo_portraits/open_clip_model.safetensors")
    _, images = portraits(24)
    (reader,), _ = run_node(
        "ReadFromText",
        scorer=scorer,
        prompt="a person with long hair",
        source="a person with short hair",
        pictures=images,
    )
    lengths = measure(pictures_of(images))["hair_len"]
    assert correlation(reader.read(pictures_of(images))[:, 0], lengths) > 0.5 and reader.noise[0] > 0
    with pytest.raises(InputError, match="written out"):
        run_node("ReadFromText", scorer=scorer, prompt=" ", source="a person")


def test_a_part_is_found_anew_in_every_picture(run_node):
    rows, images = portraits(24, hat=0.0)
    (reader, readings), _ = run_node(
        "ReadFromMask", measure="area", region="demo portraits", part="hair", pictures=images
    )
    assert correlation(readings, rows[:, INDEX["hair_len"]]) > 0.6
    assert reader.read(pictures_of(images))[:, 0].tolist() == pytest.approx(readings) and reader.noise[0] >= 0
    with pytest.raises(InputError, match="Unknown part 'wheels'"):
        run_node("ReadFromMask", measure="area", region="demo portraits", part="wheels")


def test_masks_are_read(run_node):
    images = torch.zeros(2, 8, 8, 3)
    images[0, :, :4] = 0.8
    left = torch.zeros(1, 8, 8)
    left[:, :, :4] = 1
    (reader, readings), _ = run_node("ReadFromMask", measure="brightness", region="mask", mask=left, pictures=images)
    assert readings == pytest.approx([0.8, 0.0], abs=1e-5)
    (whole, readings), _ = run_node("ReadFromMask", measure="brightness", region="whole picture", pictures=images)
    assert readings == pytest.approx([0.4, 0.0], abs=1e-5)
    several = torch.cat([left, torch.ones(1, 8, 8)])
    (of_two, readings), _ = run_node("ReadFromMask", measure="area", region="mask", mask=several)
    assert readings == pytest.approx([0.5, 1.0])
    with pytest.raises(InputError, match="made from 2 masks"):
        of_two.read(pictures_of(images))
    for inputs, sentence in (
        ({"region": "mask"}, "no mask is connected"),
        ({"region": "whole picture", "mask": left}, "choose 'mask', or disconnect"),
        ({"region": "mask", "mask": torch.ones(3, 8, 8), "pictures": images}, "3 masks for 2 pictures"),
        ({"region": "mask", "mask": torch.ones(8)}, "expected a MASK"),
        ({"measure": "weight", "region": "mask", "mask": left}, "Unknown measure"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_node("ReadFromMask", **{"measure": "area", **inputs})


def mesh(opening):
    """478 points of an upright face whose lips are so many pixels apart."""
    points = np.zeros((478, 2), dtype=np.float32) + 32.0
    for index, place in {
        33: (20, 24), 133: (28, 24), 362: (36, 24), 263: (44, 24), 61: (24, 44), 291: (40, 44), 13: (32, 42),
        14: (32, 42 + opening), 234: (12, 32), 454: (52, 32), 10: (32, 8), 152: (32, 60), 1: (32, 34),
    }.items():  # fmt: skip
        points[index] = place
    return {"landmarks_xy": points, "blendshapes": {"jawOpen": opening / 16}, "score": 0.9}


class Detector:
    """Answers as ComfyUI's FACE_DETECTION_MODEL does: brightness is how far the mouth is open; black shows nobody."""

    def __init__(self):
        self.variants = set()

    def detect_batch(self, images, num_faces, score_thresh, variant):
        self.variants.add(variant)
        assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in images)
        return [[mesh(image.mean() / 16)] if image.any() else [] for image in images]


def grey(*levels):
    return torch.tensor(levels)[:, None, None, None].expand(-1, 64, 64, 3).clone()


def test_faces_are_read_by_comfyuis_detector(run_node):
    images, detector = grey(0.2, 0.0, 0.8), Detector()
    (reader, readings), _ = run_node("ReadFromFace", measure="mouth open", detector=detector, pictures=images)
    assert readings[0] < readings[2] and math.isnan(readings[1]) and reader.units == ("of the eyes' distance",)
    assert reader.explain(pictures_of(images)) == ("", "it shows no face", "")
    (jaw, values), _ = run_node(
        "ReadFromFace", measure="turn", blendshape="jawOpen", detector=detector, pictures=images
    )
    assert (
        values[2] == pytest.approx(0.8, abs=0.01)
        and jaw.names == ("jawOpen",)
        and detector.variants == {"short", "full"}
    )
    (_, nobody), _ = run_node("ReadFromFace", measure="smile", detector=detector, pictures=grey(0.0))
    assert math.isnan(nobody[0])


def test_landmarks_that_were_found_are_numbers(run_node):
    landmarks = {"frames": [[mesh(2)], [], [mesh(8), mesh(1)]], "image_size": (64, 64)}
    (reader, readings), _ = run_node("ReadFromFace", measure="mouth open", landmarks=landmarks)
    assert readings[2] == pytest.approx(4 * readings[0], rel=1e-3) and math.isnan(readings[1])
    (_, single), _ = run_node("ReadFromFace", measure="mouth open", faces="only", landmarks=landmarks)
    assert math.isnan(single[2]) and single[0] == pytest.approx(readings[0])
    with pytest.raises(InputError, match="made from landmarks alone"):
        reader.read(pictures_of(grey(0.5)))
    for inputs, sentence in (
        ({}, "Neither a detector nor landmarks"),
        ({"landmarks": {"frames": 3}}, "cannot be read"),
        ({"landmarks": landmarks, "blendshape": "wink"}, "has no 'wink'"),
        ({"detector": object()}, "Load Face Detection Model"),
        ({"measure": "charm", "landmarks": landmarks}, "Unknown measure"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_node("ReadFromFace", **{"measure": "smile", **inputs})


def test_a_diffusion_model_reads_with_its_own_middle(run_node):
    pytest.importorskip("diffusers")
    model, clip, vae = run_node("LoadDemoDiffusion")[0]
    sentence = [list(clip.encode("a person"))]
    pair = example("hair_len", 0.0, 1.0)
    wires = {"model": model, "vae": vae, "conditioning": sentence}
    (reader, report), _ = run_node("ReadFromExample", before=pair[:1], after=pair[1:], name="hair", **wires)
    assert reader.read(pictures_of(pair))[:, 0].tolist() == pytest.approx([0, 1], abs=1e-3)
    assert "the diffusion model's middle" in report
    (together, report), _ = run_node(
        "ReadFromExample", before=pair[:1], after=pair[1:], features="demo portraits", **wires
    )
    assert "read by demo network and the diffusion model's middle" in report
    (encoder, _), _ = run_node("ReadFromExample", before=pair[:1], after=pair[1:], features="demo portraits")
    _, images = portraits(6)
    alone = torch.stack([reader.read(pictures_of(images)) for reader in (reader, encoder)])
    torch.testing.assert_close(together.read(pictures_of(images)), alone.mean(dim=0), atol=2e-4, rtol=0)
    for inputs, sentence in (
        ({**wires, "vae": None}, "missing: vae"),
        ({**wires, "conditioning": None}, "missing: conditioning"),
        ({**wires, "clip_vision": object()}, "Load CLIP Vision"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_node("ReadFromExample", before=pair, **inputs)
