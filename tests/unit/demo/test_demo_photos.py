"""Photos and captions: the shipped files are what the description paints, and sentences say what is there."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.demo.assets import PHOTOS as FOLDER
from semantic_edit.demo.portraits.captions import ATTRIBUTES, attribute_phrases, caption, captions
from semantic_edit.demo.portraits.factors import INDEX, default_factors, sample_factors
from semantic_edit.demo.portraits.photos import (
    PHOTOS,
    load_photos,
    paint_photo,
    photo_factors,
    photo_parts,
    random_photo,
)
from semantic_edit.demo.portraits.render import render


def test_sixteen_photos_are_shipped():
    names, pictures = load_photos(FOLDER)
    assert names == tuple(sorted(photo.name for photo in PHOTOS)) and len(names) == 16
    assert pictures.shape == (16, 3, 256, 256)
    assert sum(path.stat().st_size for path in FOLDER.glob("*.png")) < 2_000_000


@pytest.mark.parametrize("photo", PHOTOS[:3], ids=lambda photo: photo.name)
def test_a_shipped_photo_is_what_its_description_paints(photo):
    names, pictures = load_photos(FOLDER)
    painted = paint_photo(photo).images[0]
    assert (pictures[names.index(photo.name)] - painted).abs().max() < 0.05


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_every_photo_shows_what_no_live_factor_can(photo):
    plain = render(photo_factors(photo), 64).images
    assert (paint_photo(photo, 64).images - plain).abs().amax(1).gt(0.2).float().mean() > 0.0005


def test_photo_parts_are_exact_masks():
    masks = photo_parts(PHOTOS[:2], 64)
    assert masks.shape == (2, 9, 64, 64)
    assert torch.allclose(masks.sum(1), torch.ones(2, 64, 64), atol=1e-5)


def test_random_photos_differ_and_repeat():
    first, again, other = (paint_photo(random_photo(seed), 48).images for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.05


def test_many_random_photos_can_be_painted():
    for seed in range(30):
        assert torch.isfinite(paint_photo(random_photo(seed), 32, parts=True).images).all()


def test_a_caption_says_what_is_there():
    factors = default_factors(1)
    for name, value in {"hat": 1.0, "hat_hue": 0.7, "smile": 0.9, "hair_len": 0.9, "glasses": 0.0}.items():
        factors[0, INDEX[name]] = value
    assert caption(factors[0], attributes=("hat",)) == "a portrait of a person with a blue hat"
    assert caption(factors[0], attributes=("smile",)) == "a portrait of a person smiling"
    sentence = caption(factors[0], attributes=("hair_len", "glasses", "smile"))
    assert sentence == "a portrait of a person with long hair and no glasses, smiling"


def test_caption_lengths():
    factors = sample_factors(40, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    counts = set()
    for sentence, row in zip(captions(factors, generator), factors, strict=True):
        said = [phrase for phrase in attribute_phrases(row).values() if phrase in sentence]
        counts.add(len(said))
    assert min(counts) >= 1 and {1, 2, 4, 6, 8} <= counts
    assert captions(factors, torch.Generator().manual_seed(1)) == captions(factors, torch.Generator().manual_seed(1))


def test_phrases_know_every_attribute():
    factors = sample_factors(60, torch.Generator().manual_seed(0))
    names = {name for row in factors for name in attribute_phrases(row)}
    assert names == set(ATTRIBUTES)


def test_phrases_follow_the_factor():
    for name in ("smile", "mouth_open", "hair_len", "glasses", "yaw", "eye_open"):
        row = default_factors(2)
        row[0, INDEX[name]], row[1, INDEX[name]] = (-0.8, 0.8) if name in ("smile", "yaw") else (0.05, 0.95)
        assert attribute_phrases(row[0]).get(name) != attribute_phrases(row[1]).get(name)
