"""Colours of picture files: profiles, 16 bit, inks, LAB, palettes and transparency, against the definitions."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from semantic_edit.models.files.picture_reader import PictureError, read_frames, read_picture

RANDOM = np.random.default_rng(6)
PIXELS = RANDOM.integers(0, 256, (24, 32, 3), dtype=np.uint8)


def read(file):
    """Return the colours in 0..255, the opacity in 0..1, and what was ignored."""
    notes = []
    colours, opacity = read_picture(file, None, background=(0, 0, 0), note=notes.append)
    return colours.mul(255).numpy(), opacity, notes


def save(path, picture, **options):
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_wide_gamut_is_converted_by_its_profile(picture_forge, tmp_path, suffix):
    options = {"icc_profile": picture_forge.matrix_profile(), **({"lossless": True} if suffix == "webp" else {})}
    colours, _, notes = read(save(tmp_path / f"a.{suffix}", Image.fromarray(PIXELS), **options))
    assert not notes and np.abs(colours - PIXELS).mean() > 5
    assert np.abs(colours - picture_forge.adobe_to_srgb(PIXELS)).max() < 1.01


def test_transparency_stays_beside_a_profile(picture_forge, tmp_path):
    pixels = np.dstack([PIXELS, RANDOM.choice([0, 255], (24, 32)).astype(np.uint8)])
    file = save(tmp_path / "a.png", Image.fromarray(pixels), icc_profile=picture_forge.matrix_profile())
    colours, opacity, _ = read(file)
    assert torch.equal(opacity, torch.from_numpy(pixels[..., 3] / 255).float())
    shown = pixels[..., 3] == 255
    assert np.abs(colours - picture_forge.adobe_to_srgb(PIXELS))[shown].max() < 1.01 and not colours[~shown].any()


def test_a_palette_is_converted_too(picture_forge, tmp_path):
    palette = Image.fromarray(PIXELS).quantize(16)
    file = save(tmp_path / "a.png", palette, icc_profile=picture_forge.matrix_profile())
    expected = picture_forge.adobe_to_srgb(np.asarray(palette.convert("RGB")))
    assert np.abs(read(file)[0] - expected).max() < 1.01


def test_grey_follows_its_own_curve(picture_forge, tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = picture_forge.srgb_curve(grey / 255.0) * 255
    for picture in (Image.fromarray(grey), Image.merge("LA", [Image.fromarray(grey), Image.new("L", (16, 16), 255)])):
        colours, _, notes = read(save(tmp_path / "a.png", picture, icc_profile=picture_forge.grey_profile(1.0)))
        assert not notes and np.abs(colours - expected[..., None]).max() < 1.01


def test_a_profile_of_srgb_leaves_every_level_as_it_is(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colours, _, _ = read(save(tmp_path / "a.png", Image.fromarray(PIXELS), icc_profile=profile))
    assert np.array_equal(colours.round(), PIXELS)


def test_a_profile_that_does_not_fit_is_ignored_with_a_note(picture_forge, tmp_path):
    for profile in (picture_forge.grey_profile(1.0), picture_forge.cmyk_profile(50), b"nonsense" * 30):
        colours, _, notes = read(save(tmp_path / "a.png", Image.fromarray(PIXELS), icc_profile=profile))
        assert np.array_equal(colours.round(), PIXELS) and len(notes) == 1 and "profile" in notes[0]


def test_inks_follow_their_profile_and_have_plain_colours_without(picture_forge, tmp_path):
    inks = {(0, 0, 0, 0): 255, (255, 0, 0, 0): 119, (0, 0, 255, 0): 119, (0, 0, 0, 255): 0}
    for ink, grey in inks.items():
        file = save(tmp_path / "a.tif", Image.new("CMYK", (8, 8), ink), icc_profile=picture_forge.cmyk_profile(50))
        assert np.abs(read(file)[0] - grey).max() < 2.01  # lightness 50 is 119 of sRGB
    for ink, colour in {(255, 0, 0, 0): (0, 255, 255), (0, 0, 0, 128): (127, 127, 127)}.items():
        assert np.abs(read(save(tmp_path / "a.tif", Image.new("CMYK", (8, 8), ink)))[0] - colour).max() < 1.01


def test_lab_becomes_colours(tmp_path):
    smooth = Image.fromarray(PIXELS[:3, :4]).resize((40, 30), Image.Resampling.BICUBIC)
    lab = ImageCms.profileToProfile(
        smooth, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    difference = np.abs(read(save(tmp_path / "a.tif", lab))[0] - np.asarray(smooth))
    assert difference.mean() < 2 and np.asarray(smooth).std() > 30


@pytest.mark.parametrize("kind", ["png", "tif", "big-endian tif", "jp2"])
def test_16_bit_grey_is_scaled_and_not_clipped(picture_forge, tmp_path, kind):
    grey = np.linspace(0, 65535, 32 * 24).astype(np.uint16).reshape(24, 32)
    if kind == "png":
        file = tmp_path / "a.png"
        file.write_bytes(picture_forge.png(grey))
    elif kind == "big-endian tif":
        picture = Image.frombytes("I;16B", (32, 24), grey.astype(">u2").tobytes())
        file = save(tmp_path / "a.tif", picture)
    else:
        file = save(tmp_path / f"a.{kind}", Image.fromarray(grey))
    colours, opacity, _ = read(file)
    assert np.array_equal(colours.round()[..., 1], (grey / 257.0).round()) and bool((opacity == 1).all())


def test_32_bit_grey_counts_as_16(tmp_path):
    grey = np.array([[-5, 0, 257, 65535, 90000]], np.int32)
    assert read(save(tmp_path / "a.tif", Image.fromarray(grey)))[0].round()[0, :, 0].tolist() == [0, 0, 1, 255, 255]
    with pytest.raises(PictureError, match="floating-point grey"):
        read(save(tmp_path / "f.tif", Image.fromarray(grey.astype(np.float32))))


def test_16_bit_colours_keep_their_upper_half(picture_forge, tmp_path):
    wide = PIXELS.astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(picture_forge.png(wide))
    assert np.array_equal(read(tmp_path / "a.png")[0].round(), PIXELS)


def test_a_colour_that_stands_for_transparency(picture_forge, tmp_path):
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    key = picture_forge.chunk(b"tRNS", (21000).to_bytes(2, "big"))
    (tmp_path / "grey.png").write_bytes(picture_forge.png(grey, key))
    assert torch.nonzero(1 - read(tmp_path / "grey.png")[1]).tolist() == [[2, 5]]
    key = picture_forge.chunk(b"tRNS", b"".join(int(level).to_bytes(2, "big") for level in PIXELS[3, 4]))
    (tmp_path / "rgb.png").write_bytes(picture_forge.png(PIXELS, key))
    assert [3, 4] in torch.nonzero(1 - read(tmp_path / "rgb.png")[1]).tolist()


def test_bands_join_without_a_seam(picture_forge, tmp_path):
    grey = RANDOM.integers(0, 65536, (600, 3), dtype=np.uint16)  # more rows than are handled at a time
    (tmp_path / "a.png").write_bytes(picture_forge.png(grey))
    assert np.array_equal(read(tmp_path / "a.png")[0].round()[..., 0], (grey / 257.0).round())
    tall = RANDOM.integers(0, 256, (600, 3, 4), dtype=np.uint8)
    colours, opacity, _ = read(save(tmp_path / "b.png", Image.fromarray(tall)))
    assert np.allclose(colours, tall[..., :3] * (tall[..., 3:] / 255), atol=1e-3)
    assert np.array_equal(opacity.numpy(), tall[..., 3].astype(np.float32) / 255)


def test_numbers_that_are_no_colours_stay(picture_forge, tmp_path):
    file = save(tmp_path / "a.png", Image.fromarray(PIXELS), icc_profile=picture_forge.matrix_profile())
    (frame,) = read_frames(file, follow_profile=False)
    assert np.array_equal(np.asarray(frame), PIXELS)
