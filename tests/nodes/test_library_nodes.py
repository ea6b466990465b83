"""Directions as a library: saved with a thumbnail and notes, listed, loaded; found, fitted, scaled and combined."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.editing import attribute_values, compute_strength
from semantic_edit.editing.common.types import EditDirection, GanLatent
from semantic_edit.headless import StoppedError
from semantic_edit.models import InputError
from semantic_edit.models.files.direction import (
    read_direction,
    read_thumbnail,
    summarize_direction,
    write_direction,
    write_thumbnail,
)


@pytest.fixture
def latents(run_node, tiny_generator):
    return run_node("SampleLatents", generator=tiny_generator, count=5, seed=3)[0][0]


@pytest.fixture
def edits(tiny_generator):
    """Three entangled edits with examples' states, on rows that overlap."""
    rng = torch.Generator().manual_seed(4)
    edits = []
    for name, rows in (("turn", (0, 1, 2)), ("smile", (1, 2, 3)), ("hat", (2, 5))):
        d = torch.randn(tiny_generator.num_layers, tiny_generator.w_dim, generator=rng)
        v = d + 0.5 * torch.randn(d.shape, generator=rng)
        edits.append(EditDirection(d, v, rows, 0.2, 2.0, "test", tiny_generator.family, name))
    return edits


def directions_folder(host):
    return host.settings.models / "semantic_edit" / "directions"


def test_two_and_three_edits_reach_all_states(run_node, latents, edits):
    turn, smile, hat = edits
    (edited, report, table), _ = run_node("CombineEdits", latents=latents, edit_1=turn, edit_2=smile, edit_4=hat)
    for edit in edits:
        goal = torch.full((5,), edit.offset)
        torch.testing.assert_close(attribute_values(edit, edited.codes), goal, atol=1e-3, rtol=1e-3)
    assert edited.names == latents.names and edited.family == latents.family
    assert set(json.loads(table)) == {"turn", "smile", "hat"} and len(json.loads(table)["hat"]) == 5
    assert report.startswith("3 edits, 5 pictures") and "by smile" in report
    (swapped, *_), _ = run_node("CombineEdits", latents=latents, edit_1=hat, edit_2=turn, edit_3=smile)
    assert torch.equal(swapped.codes, edited.codes)


def test_the_report_tells_whose_normal_is_its_direction(run_node, latents, edits):
    turn, smile, _ = edits
    combined = smile.direction + turn.direction
    plain = EditDirection(combined, combined, (0, 1, 2, 3), 0.2, 9.0, "test", smile.family, "plain")
    (_, report, _), _ = run_node("CombineEdits", latents=latents, edit_1=turn, edit_2=plain, strength_1=10.0)
    assert report.count("its own normal") == 1 and "its own normal" in report.splitlines()[-1]


def test_strengths_from_compute_strength_and_sliders_mix(run_node, latents, edits):
    turn, smile, _ = edits
    (planned, *_), _ = run_node("ComputeStrength", direction=turn, latents=latents, mode="constant", strength=0.5)
    (edited, *_), _ = run_node(
        "CombineEdits", latents=latents, edit_1=turn, edit_2=smile, strengths_1=planned, strength_2=0.0
    )
    gain = float((turn.normal * turn.direction).sum())
    moved = attribute_values(turn, edited.codes) - attribute_values(turn, latents.codes)
    torch.testing.assert_close(moved, torch.full((5,), 0.5 * gain), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(attribute_values(smile, edited.codes), torch.full((5,), 0.2), atol=1e-3, rtol=1e-3)


def test_combining_refuses_in_sentences(run_node, latents, edits):
    turn, smile, _ = edits
    plain = EditDirection(smile.direction, smile.normal, smile.layers, family=smile.family, name="plain")
    stranger = EditDirection(smile.direction, smile.normal, smile.layers, 0, 1, family="elsewhere", name="stranger")
    for inputs, words in (
        (dict(edit_2=plain), "'plain' comes without an example.*constant"),
        (dict(edit_2=stranger), "elsewhere"),
        (dict(edit_2=turn), "almost the same"),
        (dict(edit_2=smile, mode="best"), "Unknown mode 'best'"),
        (dict(edit_2=smile, strengths_3=compute_strength(turn, latents.codes)), "edit_3 is not"),
    ):
        with pytest.raises(InputError, match=words):
            run_node("CombineEdits", latents=latents, edit_1=turn, **inputs)
    (edited, *_), _ = run_node("CombineEdits", latents=latents, edit_1=turn, edit_2=plain, mode="constant", limit=0.1)
    assert not torch.equal(edited.codes, latents.codes)


def test_scaled_and_inverted(run_node, edits):
    (half,), _ = run_node("ScaleEdit", edit=edits[0], factor=0.5)
    (opposite,), _ = run_node("ScaleEdit", edit=edits[0], invert=True, name="turn left")
    assert half.offset == pytest.approx(1.1) and half.name == "turn x 0.5"
    assert opposite.offset == pytest.approx(-1.6) and opposite.name == "turn left"
    with pytest.raises(InputError, match="any number but 0"):
        run_node("ScaleEdit", edit=edits[0], factor=0.0)


def test_fitting_scores_as_text_numbers_and_tables(run_node, tiny_generator):
    (latent, *_), _ = run_node("SampleLatents", generator=tiny_generator, count=60, seed=1)
    scores = latent.codes[:, 0, 0].double().tolist()
    (edit, r2, report), _ = run_node("FitDirection", latents=latent, scores=json.dumps({"x": scores}), attribute="x")
    assert r2 > 0.9 and edit.name == "x" and edit.has_example and "60 samples" in report
    (again, *_), _ = run_node("FitDirection", latents=latent, scores=" ".join(map(str, scores)), name="x")
    torch.testing.assert_close(again.direction, edit.direction)
    high, low = (GanLatent(latent.codes[mask], family=latent.family) for mask in _halves(scores))
    (groups, *_), _ = run_node("FitDirection", latents=high, negatives=low, rows="0-2")
    assert groups.layers == (0, 1, 2)
    for inputs in ({}, dict(scores="1", negatives=low)):
        with pytest.raises(InputError, match="either scores or negatives"):
            run_node("FitDirection", latents=latent, **inputs)


def _halves(scores):
    values = torch.tensor(scores)
    return values > values.median(), values <= values.median()


def test_a_list_of_numbers_is_one_input(headless_host):
    """As ComfyUI gives it: every input of this node is a list."""
    from semantic_edit.nodes.one_for_all.fit_direction import FitDirection

    codes = GanLatent(torch.randn(20, 8, 16, generator=torch.Generator().manual_seed(8)))
    scores = codes.codes.mean(dim=(1, 2)).tolist()
    result = FitDirection.execute(latents=[codes], attribute=[""], rows=["all"], name=[""], scores=scores)
    assert result[0].name == "edit" and isinstance(result[1], float)


def test_codes_and_components_become_edits(run_node, tiny_generator, latents):
    (edit, report), _ = run_node(
        "DirectionFromCodes",
        before=GanLatent(latents.codes[:2], family=latents.family),
        after=GanLatent(latents.codes[2:4], family=latents.family),
        rows="coarse",
    )
    assert edit.layers == (0, 1, 2) and "2 codes before, 2 after" in report
    (directions, sheet, report), _ = run_node(
        "DiscoverDirections", generator=tiny_generator, component=3, preview_count=4, latents=latents
    )
    assert directions.name == "component 3" and sheet.shape[0] == 1 and sheet.shape[-1] == 3
    assert len(report.splitlines()) == 5
    (directions, sheet, _), _ = run_node(
        "DiscoverDirections", generator=tiny_generator, method="style weights", rows="0-1", preview_count=0
    )
    assert directions.layers == (0, 1) and sheet.shape[1:3] == (8, 8)
    with pytest.raises(InputError, match="components 0 to 15"):
        run_node("DiscoverDirections", generator=tiny_generator, component=16)


def test_interrupting_a_sheet_stops_within_a_component(run_node, headless_host, tiny_generator, monkeypatch):
    calls = []

    def stop_at_second(self):
        calls.append(1)
        if len(calls) == 2:
            raise StoppedError("stopped")

    monkeypatch.setattr(type(headless_host), "check_interrupt", stop_at_second)
    with pytest.raises(StoppedError):
        run_node("DiscoverDirections", generator=tiny_generator, preview_count=8)
    assert len(calls) == 2


def test_saved_with_notes_and_thumbnail_listed_and_loaded(run_node, headless_host, tiny_generator, latents, edits):
    inputs = dict(direction=edits[0], name="faces/turn", notes="from a drag", date="2026-11-21")
    (file,), shown = run_node("SaveDirection", generator=tiny_generator, latents=latents, **inputs)
    path = headless_host.model_path("directions", file)
    with Image.open(path.with_suffix(".jpg")) as picture:
        assert picture.size == (64, 32)
    summary = summarize_direction(path)
    assert (summary.notes, summary.date, summary.layers) == ("from a drag", "2026-11-21", (0, 1, 2))
    assert len(shown["images"]) == 1 and file in str(shown["text"])
    (loaded,), shown = run_node("LoadDirection", generator=tiny_generator, file=file)
    assert torch.equal(loaded.direction, edits[0].direction)
    assert not shown  # the widget shows the pictures of all
    (report, sheet), shown = run_node("ListDirections", generator=tiny_generator, contains="faces")
    assert report.startswith("1 directions\n") and "'turn'; rows 0-2; test; with states" in report
    assert "from a drag; fits 'tiny'" in report and len(shown["images"]) == 1
    assert sheet.shape[0] == 1 and float(sheet.std()) > 0.05


def test_without_a_date_the_same_edit_is_the_same_file(run_node, headless_host, edits):
    files = [run_node("SaveDirection", direction=edits[0], name="turn")[0][0] for _ in range(2)]
    first, second = (headless_host.model_path("directions", file).read_bytes() for file in files)
    assert first == second and files[0] != files[1]
    with pytest.raises(InputError, match="connect latents as well"):
        run_node("SaveDirection", direction=edits[0], name="turn", generator=object())


def test_a_thumbnail_needs_its_own_generators_code(run_node, headless_host, tiny_generator, latents, edits):
    stranger = GanLatent(latents.codes, family="elsewhere")
    with pytest.raises(InputError, match="elsewhere"):
        run_node("SaveDirection", direction=edits[0], name="turn", generator=tiny_generator, latents=stranger)
    assert not list(headless_host.output_directory().rglob("turn*"))


def test_one_bad_file_does_not_hide_the_others(run_node, headless_host, tiny_generator, monkeypatch):
    """Numbers of eight bits, a state of four hundred digits, and a reader that fails as none foresaw."""
    folder = directions_folder(headless_host)
    write_direction(folder / "b_good.safetensors", torch.ones(1, 16), name="good")
    long = write_direction(folder / "b_long.safetensors", torch.ones(1, 16), start=0.0)
    content = long.read_bytes()
    config = b'\\"start\\": 0.0'
    assert config in content
    header = content[8:].replace(config, b'\\"start\\": 1' + b"0" * 400)
    size = int.from_bytes(content[:8], "little") + len(header) - len(content[8:])
    long.write_bytes(size.to_bytes(8, "little") + header)
    codes = {"dtype": "F8_E4M3", "shape": [1, 16], "data_offsets": [0, 16]}
    text = json.dumps({"direction": codes, "__metadata__": {"format": "semantic_edit", "kind": "direction"}}).encode()
    (folder / "b_eight.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    (folder / "b_broken.safetensors").write_bytes(long.read_bytes())
    real = summarize_direction

    def reader(path):
        if path.name == "b_broken.safetensors":
            raise ZeroDivisionError
        return real(path)

    monkeypatch.setattr("semantic_edit.nodes.one_for_all.list_directions.summarize_direction", reader)
    (report, sheet), _ = run_node("ListDirections", generator=tiny_generator, contains="b_")
    for line in ("stored as F8_E4M3", "'start' should be a number", "cannot be read (ZeroDivisionError)", "b_good"):
        assert line in report
    assert report.count("b_good") == 1 and sheet.shape[0] == 1


def test_the_list_names_what_does_not_fit_and_what_is_damaged(run_node, headless_host, tiny_generator):
    folder = directions_folder(headless_host)
    write_direction(folder / "a_fits.safetensors", torch.ones(1, 16), name="fits", method="imported")
    write_direction(folder / "a_wide.safetensors", torch.ones(1, 512))
    write_direction(folder / "a_far.safetensors", torch.ones(1, 16), family="elsewhere")
    write_direction(folder / "a_row.safetensors", torch.ones(1, 16), layers=(30,), name="\x1b[2J red\nnext line")
    (folder / "a_damaged.safetensors").write_bytes(b"nothing")
    (folder / "a_fits.jpg").write_bytes(b"no picture")
    (report, _), _ = run_node("ListDirections", generator=tiny_generator, contains="A_")
    message = (
        "no: [1, 512] instead of [8, 16]",
        "no: another family",
        "no: acts on row 30",
        "a_damaged.safetensors: cannot be used",
        "family unknown (checked by shape)",
        "fits 'tiny'",
    )
    assert "\x1b" not in report and len(report.splitlines()) == 6
    for words in message:
        assert words in report
    (report, _), _ = run_node("ListDirections", generator=tiny_generator, contains="a_", fitting_only=True)
    assert report.splitlines()[0] == "1 directions" and "a_fits" in report
    with pytest.raises(InputError, match="No direction matches"):
        run_node("ListDirections", contains="nothing like this")
    with pytest.raises(InputError, match="needs a generator"):
        run_node("ListDirections", fitting_only=True)


def test_the_list_is_made_again_when_a_file_appears(headless_host):
    from semantic_edit.nodes.one_for_all.list_directions import ListDirections

    before = ListDirections.fingerprint_inputs(contains="")
    write_direction(directions_folder(headless_host) / "new.safetensors", torch.ones(1, 16))
    assert ListDirections.fingerprint_inputs(contains="") != before


def test_a_direction_of_one_row_fits_every_row(run_node, headless_host, tiny_generator, latents, caplog):
    """As e4e, PTI and InterFaceGAN keep them; states of one row hold for any number of rows."""
    folder, vector = directions_folder(headless_host), torch.randn(1, 16, generator=torch.Generator().manual_seed(2))
    write_direction(folder / "age.safetensors", vector, start=0.0, offset=float(vector.square().sum()))
    for rows, count in (("as saved", 8), ("0-2", 3)):
        (edit,), _ = run_node("LoadDirection", generator=tiny_generator, file="age.safetensors", rows=rows)
        assert edit.direction.shape == (8, 16) and torch.equal(edit.direction[count - 1], vector[0])
        assert edit.offset == pytest.approx(count * float(vector.square().sum()), rel=1e-5)
        on_boundary = latents.codes + compute_strength(edit, latents.codes, 0.0)[:, None, None] * edit.direction
        torch.testing.assert_close(attribute_values(edit, on_boundary), torch.zeros(5), atol=1e-3, rtol=0)
    assert "names no generator family" in caplog.text


def test_other_rows_keep_the_examples_states_or_none(run_node, headless_host, tiny_generator, edits):
    folder = directions_folder(headless_host)
    d = edits[0].direction
    example = torch.stack([torch.zeros_like(d), d])
    write_direction(folder / "with.safetensors", d, d, (0, 1, 2), 0.0, float(d.square().sum()), example=example)
    write_direction(folder / "without.safetensors", d, d, (0, 1, 2), 0.0, 1.0)
    (edit,), _ = run_node("LoadDirection", generator=tiny_generator, file="with.safetensors", rows="0-1")
    assert edit.offset == pytest.approx(float(d[:2].square().sum()), rel=1e-5) and edit.start == 0
    (edit,), _ = run_node("LoadDirection", generator=tiny_generator, file="without.safetensors", rows="0-1")
    assert "average picture is taken" in edit.note and edit.offset != 1.0
    assert read_direction(folder / "without.safetensors")["offset"] == 1.0


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 no", None], ids=["empty", "cut short", "too large"])
def test_a_thumbnail_that_is_no_picture_is_left_out(run_node, headless_host, tiny_generator, content):
    folder = directions_folder(headless_host)
    path = write_direction(folder / "age.safetensors", torch.ones(1, 16))
    picture = write_thumbnail(path, torch.rand(4, 4, 3))
    if content is None:
        Image.fromarray(np.zeros((4, 5000, 3), np.uint8)).save(picture)
    else:
        picture.write_bytes(content)
    assert read_thumbnail(path) is None
    run_node("LoadDirection", generator=tiny_generator, file="age.safetensors")
