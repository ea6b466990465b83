"""Picture files from anywhere: which are opened, what of them is dropped, and how large they may be."""

import io
import struct
import threading
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, PngImagePlugin
from semantic_edit.models.errors import InputError
from semantic_edit.models.files import picture_batch, picture_reader
from semantic_edit.models.files.picture_batch import read_pictures
from semantic_edit.models.files.picture_formats import (
    describe_passed_over,
    installed_formats,
    is_picture_name,
    list_pictures,
    split_names,
)
from semantic_edit.models.files.picture_reader import PictureError, read_frames, read_picture

PIXELS = np.random.default_rng(5).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def read(file, *arguments, **options):
    """Return the colours as uint8, the opacity, and what was ignored."""
    notes = []
    colours, opacity = read_picture(file, None, *arguments, note=notes.append, **options)
    return colours.mul(255).round().to(torch.uint8).numpy(), opacity, notes


def text_chunk(forge, kind, keyword, text):
    packed = {b"zTXt": b"\0" + zlib.compress(text), b"iTXt": b"\1\0\0\0" + zlib.compress(text), b"tEXt": text}
    return forge.chunk(kind, keyword + b"\0" + packed[kind])


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"tEXt"])
@pytest.mark.parametrize("where", ["before", "after"])
def test_large_texts_beside_the_pixels_cost_no_picture(picture_forge, tmp_path, kind, where):
    text = text_chunk(picture_forge, kind, b"workflow", b"x" * 1_500_000)
    (tmp_path / "a.png").write_bytes(picture_forge.png(PIXELS, **{where: text}))
    colours, opacity, notes = read(tmp_path / "a.png")
    assert np.array_equal(colours, PIXELS) and bool((opacity == 1).all()) and notes == []


def test_a_profile_of_any_size_is_followed_or_dropped_with_a_note(picture_forge, tmp_path):
    profile = picture_forge.matrix_profile()
    large = profile[:128] + profile[128:] + bytes(1_500_000)  # as long as the limit of Pillow forbids
    (tmp_path / "a.png").write_bytes(picture_forge.png(PIXELS, picture_forge.profile_chunk(large)))
    assert np.abs(read(tmp_path / "a.png")[0] - picture_forge.adobe_to_srgb(PIXELS)).max() < 1.5
    for broken in (bytes(9_000_000), b"no profile", b""):
        (tmp_path / "b.png").write_bytes(picture_forge.png(PIXELS, picture_forge.profile_chunk(broken)))
        colours, _, notes = read(tmp_path / "b.png")
        assert np.array_equal(colours, PIXELS)
        assert broken == b"" or (len(notes) == 1 and "profile is damaged" in notes[0])


@pytest.mark.parametrize("kind", [b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"pHYs", b"gAMA", b"sRGB", b"acTL", b"zzZZ"])
@pytest.mark.parametrize("checksum", ["right", "wrong"])
def test_nonsense_in_needless_chunks_costs_no_picture(picture_forge, tmp_path, kind, checksum):
    content = picture_forge.chunk(kind, b"\x07nonsense")
    content = content if checksum == "right" else content[:-1] + bytes([content[-1] ^ 1])
    (tmp_path / "a.png").write_bytes(picture_forge.png(PIXELS, content))
    assert np.array_equal(read(tmp_path / "a.png")[0], PIXELS)


@pytest.mark.parametrize("tag", ["t34665", "t34853", "t330", "t700", "t34675"])
def test_a_tiff_keeps_its_pixels_where_other_tags_are_nonsense(picture_forge, tmp_path, tag):
    for value in (5, 9_999_999):  # numbers where a text or a table is expected, and places behind the end of the file
        (tmp_path / "a.tif").write_bytes(grey_tiff(picture_forge, **{tag: value}))
        assert read(tmp_path / "a.tif")[0][..., 0].tolist() == np.arange(100).reshape(10, 10).tolist()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_broken_exif_turns_nothing_and_costs_no_picture(tmp_path, suffix):
    Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}", exif=b"Exif\0\0MM\0\x2bnonsense", quality=95)
    colours, _, _ = read(tmp_path / f"a.{suffix}")
    assert colours.shape == PIXELS.shape and int(colours.max()) > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_turn_is_followed_in_every_place_it_may_stand(picture_forge, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = exif.tobytes()
    upright = Image.fromarray(PIXELS)
    method = picture_reader._TURNS.get(orientation)
    upright = np.asarray(upright if method is None else upright.transpose(method))
    raw = f"\nexif\n{len(content):8}\n{content.hex()}\n".encode()
    xmp = f'<x tiff:Orientation="{orientation}"/>'.encode()
    for place in (
        picture_forge.chunk(b"eXIf", content[6:]),
        text_chunk(picture_forge, b"zTXt", b"Raw profile type exif", raw),
        picture_forge.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
    ):
        for options in ({"before": place}, {"after": place}):
            (tmp_path / "a.png").write_bytes(picture_forge.png(PIXELS, **options))
            assert np.array_equal(read(tmp_path / "a.png")[0], upright)
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", exif=exif)
    assert np.array_equal(read(tmp_path / "a.tif")[0], upright)


def test_every_installed_format_is_read_by_its_content(tmp_path):
    formats = {"jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF", "jp2": "JPEG2000", "j2k": "JPEG2000", "jpx": "JPEG2000"}
    formats |= {"apng": "PNG", "webp": "WEBP", "tiff": "TIFF", "dib": "DIB", "gif": "GIF", "bmp": "BMP"}
    smooth = Image.fromarray(PIXELS[:3, :4]).resize((64, 48), Image.Resampling.BICUBIC)
    for suffix, name in formats.items():
        if name not in installed_formats() or name not in Image.SAVE:
            continue
        content = io.BytesIO()
        smooth.save(content, name)
        (tmp_path / f"a.{suffix}").write_bytes(content.getvalue())
        (tmp_path / f"{suffix}.png").write_bytes(content.getvalue())
        assert is_picture_name(f"a.{suffix.upper()}")
        colours, _, notes = read(tmp_path / f"a.{suffix}")
        assert np.abs(colours.astype(int) - np.asarray(smooth)).mean() < (20 if suffix == "gif" else 4) and not notes
        assert np.array_equal(read(tmp_path / f"{suffix}.png")[0], colours)


def test_no_other_container_is_opened(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a program was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", refuse)
    for name, start in {
        "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n",
        "ppm.png": b"P6 1 1 255\nabc",
        "psd.jpg": b"8BPS\0\1" + bytes(30),
        "text.webp": b"hello",
    }.items():
        (tmp_path / name).write_bytes(start)
        with pytest.raises(PictureError, match="^not a picture$"):
            read_picture(tmp_path / name, None)
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    if "HEIF" not in installed_formats():
        with pytest.raises(PictureError, match="pillow-heif"):
            read_picture(tmp_path / "phone.heic", None)


def test_what_is_passed_over_is_named():
    names = ["b.TXT", "10.png", "2.JFIF", ".hidden.png", "c.heic_", *(f"{k}.psd" for k in range(9))]
    pictures, others = split_names(names)
    assert pictures == ["2.JFIF", "10.png"] and len(others) == 11
    assert describe_passed_over([]) == "" and describe_passed_over(["a.txt"]).startswith("1 file was passed over")
    assert describe_passed_over(others).endswith("5.psd, 6.psd, 7.psd and 3 others.")
    assert "\x1b" not in describe_passed_over(["\x1b[31m.txt"])
    assert "pillow-heif" in describe_passed_over(["a.HEIC"])


BOMBS = [(0, 16, 13300), (6, 8, 13300), (0, 8, 20000)]


@pytest.mark.parametrize(("colour", "depth", "side"), BOMBS)
def test_a_picture_above_the_limit_is_refused_before_it_is_decoded(
    picture_forge, tmp_path, monkeypatch, colour, depth, side
):
    (tmp_path / "a.png").write_bytes(picture_forge.empty_png(side, side, colour, depth))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(PictureError, match=r"134 million"):
        read_picture(tmp_path / "a.png", (16, 16))
    with pytest.raises(PictureError, match=r"134 million"):
        next(read_frames(tmp_path / "a.png"))


def grey_tiff(forge, **tags):
    """Return a TIFF of 10 x 10 grey pixels, 0 to 99, with further tags."""
    known = {256: 10, 257: 10, 258: 8, 259: 1, 262: 1, 277: 1}
    tags = {int(name[1:]): value for name, value in tags.items()}
    tags = {**known, **(tags if 322 in tags else {273: 0, 278: 10, 279: 100} | tags)}
    start = 8 + 2 + 12 * len(tags) + 4
    return forge.tiff({**tags, **({273: start} if 273 in tags else {324: start})}, bytes(range(100)))


def test_a_tile_counts_as_its_picture_does(picture_forge, tmp_path):
    (tmp_path / "a.tif").write_bytes(grey_tiff(picture_forge))
    assert read(tmp_path / "a.tif")[0][..., 0].tolist() == np.arange(100).reshape(10, 10).tolist()
    (tmp_path / "b.tif").write_bytes(grey_tiff(picture_forge, t322=12000, t323=12000, t324=0, t325=100))
    with pytest.raises(PictureError, match="12000 x 12000 pixels, 144 million; at most 134 million"):
        read_picture(tmp_path / "b.tif", None)


def test_frames_are_counted_before_they_are_decoded_and_read_as_asked(tmp_path, monkeypatch):
    frames = [Image.new("L", (200, 100), 30 * k) for k in range(7)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert len([frame.size for frame in read_frames(tmp_path / "a.gif")]) == 7
    assert len(list(read_frames(tmp_path / "a.gif", 2))) == 2
    monkeypatch.setattr(picture_reader, "MAX_FRAME_PIXELS", 6 * 200 * 100)
    with pytest.raises(PictureError, match="7 frames of 200 x 100"):
        next(read_frames(tmp_path / "a.gif"))
    assert len(list(read_frames(tmp_path / "a.gif", 1))) == 1
    assert read_picture(tmp_path / "a.gif", None)[0].shape == (100, 200, 3)  # a folder shows the first alone


def test_a_batch_has_a_limit_of_its_own(tmp_path, monkeypatch):
    for name in "abc":
        Image.fromarray(PIXELS).save(tmp_path / f"{name}.png")
    files = list_pictures(tmp_path)
    monkeypatch.setattr(picture_batch, "MAX_BATCH_PIXELS", 2 * 24 * 32)
    monkeypatch.setattr(picture_batch, "_machine_memory", lambda: 0)
    for size in (None, (24, 32)):
        with pytest.raises(InputError, match="3 pictures of 32 x 24 pixels .* 'first' and 'limit'"):
            read_pictures(files, size)
    assert len(read_pictures(files, (10, 10)).images) == 3
    monkeypatch.setattr(picture_batch, "_machine_memory", lambda: 2 * 16 * 3 * 24 * 32)
    assert len(read_pictures(files, (24, 32)).images) == 3


def test_a_large_file_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(2**30 + 1)  # sparse: it takes no room
    with pytest.raises(PictureError, match="at most 1 GiB"):
        read_picture(tmp_path / "a.png", None)


def test_a_large_photo_is_decoded_at_no_more_than_twice_what_is_asked(tmp_path, monkeypatch):
    smooth = Image.fromarray(PIXELS[:5, :7]).resize((1600, 1200), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.jpg", quality=95)
    decoded = []
    real = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda self: (decoded.append(self.size), real(self))[1])
    colours, _ = read_picture(tmp_path / "a.jpg", (96, 128))
    assert max(decoded) == (400, 300)
    expected = np.asarray(smooth.resize((128, 96), Image.Resampling.LANCZOS)) / 255
    assert np.abs(colours.numpy() - expected).mean() < 0.01


def test_nothing_of_pillows_is_changed_for_others(picture_forge, tmp_path):
    settings = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    content = picture_forge.png(PIXELS, text_chunk(picture_forge, b"zTXt", b"a", b"x" * 2_000_000))
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "cut.png").write_bytes(content[:-200])
    seen = set()
    threads = [threading.Thread(target=lambda: list(read_frames(tmp_path / "cut.png"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen.add((ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK))
    assert seen <= {settings}
    with pytest.raises(ValueError, match="(?i)too large"):
        Image.open(tmp_path / "a.png")  # as Pillow is elsewhere


@pytest.mark.parametrize("options", [{"suffix": "png"}, {"suffix": "jpg"}, {"suffix": "jpg", "progressive": True}])
def test_half_a_picture_is_damage_in_a_folder_and_half_a_picture_in_a_node(tmp_path, options):
    suffix = options.pop("suffix")
    smooth = Image.fromarray(PIXELS[:6, :8]).resize((320, 240), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / f"whole.{suffix}", **options)
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(PictureError, match="damaged or unsupported"):
        read_picture(tmp_path / f"cut.{suffix}", None)
    notes = []
    (frame,) = read_frames(tmp_path / f"cut.{suffix}", note=notes.append)
    whole = np.asarray(Image.open(tmp_path / f"whole.{suffix}"))
    difference = np.abs(np.asarray(frame).astype(int) - whole)[:100]
    assert difference.mean() < 8 and "as far as possible" in notes[-1]


def test_damaged_chunks_end_in_sentences(picture_forge, tmp_path):
    frames = [Image.fromarray(PIXELS).rotate(20 * k) for k in range(3)]
    frames[0].save(tmp_path / "film.png", save_all=True, append_images=frames[1:])
    metadata = picture_forge.chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08") + picture_forge.chunk(b"tRNS", bytes(6))
    metadata += text_chunk(picture_forge, b"zTXt", b"Raw profile type exif", b"\nexif\n 4\nabcd\n")
    metadata += picture_forge.profile_chunk(picture_forge.matrix_profile())
    random = np.random.default_rng(8)
    sources = [picture_forge.png(PIXELS, metadata), (tmp_path / "film.png").read_bytes()]
    outcomes = set()
    for trial in range(400):
        content = bytearray(sources[trial % 2])
        for _ in range(random.integers(1, 4)):
            at = int(random.integers(8, len(content)))
            content[at : at + 4] = random.choice([bytes(4), b"\xff" * 4, random.bytes(4), struct.pack(">I", at)])
        if trial % 3:  # with right checksums, so that the content is believed
            content = with_checksums(bytes(content))
        (tmp_path / "a.png").write_bytes(content)
        for call in (lambda: read_picture(tmp_path / "a.png", (8, 8)), lambda: list(read_frames(tmp_path / "a.png"))):
            try:
                call()
                outcomes.add("read")
            except PictureError as error:
                assert str(error).isprintable() and len(str(error)) < 200
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def with_checksums(content):
    """Return a PNG whose chunks have the checksums of what they hold, as far as they can be followed."""
    position, out = 8, content[:8]
    while position + 12 <= len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        body = content[position + 4 : position + 8 + length]
        out += content[position : position + 4] + body + struct.pack(">I", zlib.crc32(body))
        position += 12 + length
    return out
