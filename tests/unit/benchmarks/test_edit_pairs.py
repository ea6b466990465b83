"""The edit benchmark in TEdBench's form: reading the folder, and one small run to the end."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from semantic_edit.models.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import edit_pairs
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return edit_pairs


@pytest.fixture
def bench(tmp_path):
    """A folder of one photo and two sentences."""
    folder = tmp_path / "bench"
    (folder / "originals").mkdir(parents=True)
    Image.radial_gradient("L").resize((40, 24)).convert("RGB").save(folder / "originals" / "face.jpeg")
    write(
        folder,
        [
            {"img_name": "face.jpeg", "target_text": "a person with glasses", "source_text": "a person"},
            {"img_name": "face.jpeg", "target_text": "a person with a hat"},
        ],
    )
    return folder


def write(folder, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "input_list.json").write_text(text, encoding="utf-8")


def test_reads_the_layout(script, bench):
    pairs = script.read_pairs(bench)
    assert [pair["target_text"] for pair in pairs] == ["a person with glasses", "a person with a hat"]
    photo = script.read_photo(bench, "face.jpeg", 16)
    assert photo.shape == (1, 16, 16, 3) and 0 <= float(photo.min()) <= float(photo.max()) <= 1


def test_a_missing_folder_is_refused(script, tmp_path):
    with pytest.raises(InputError, match=r"no input_list\.json"):
        script.read_pairs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no pairs"),
        ({"img_name": "face.jpeg"}, "holds no pairs"),
        (["face.jpeg"], "Pair 1 .* is str"),
        ([{"img_name": "face.jpeg"}], "no target_text"),
        ([{"img_name": "face.jpeg", "target_text": " "}], "no target_text"),
        ([{"target_text": "a hat"}], "no img_name"),
        ([{"img_name": 3, "target_text": "a hat"}], "no img_name"),
        ([{"img_name": "face.jpeg", "target_text": "a hat", "source_text": 3}], "source_text"),
        ([{"img_name": "other.png", "target_text": "a hat"}], "not in originals: 'other.png'"),
        ([{"img_name": "../input_list.json", "target_text": "a hat"}], "outside of originals"),
        ([{"img_name": "/etc/hostname", "target_text": "a hat"}], "outside of originals"),
        ([{"img_name": "face.jpeg", "target_text": "a hat"}, 7], "Pair 2 .* is int"),
    ],
)
def test_wrong_lists_are_refused(content, words, script, bench):
    write(bench, content)
    with pytest.raises(InputError, match=words):
        script.read_pairs(bench)


def test_a_file_that_is_no_picture_is_refused(script, bench):
    (bench / "originals" / "face.jpeg").write_text("no picture")
    with pytest.raises(InputError, match="'face.jpeg' cannot be read"):
        script.read_photo(bench, "face.jpeg", 16)
    with pytest.raises(InputError, match="size is 8"):
        script.read_photo(bench, "face.jpeg", 8)


def test_wrong_input_ends_in_one_sentence(script, bench, capsys):
    assert script.main([str(bench / "originals"), "--model", str(bench)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert script.main([str(bench), "--model", str(bench)]) == 2
    assert "model_index.json" in capsys.readouterr().err


def test_a_run_from_the_folder_to_the_sheet(script, bench, tmp_path, forge_diffusion):
    pytest.importorskip("diffusers")
    model, out = forge_diffusion(tmp_path / "model"), tmp_path / "out"
    given = [str(bench), "--model", str(model), "--out", str(out), "--methods", "imagic", "joint", "sdedit", "ddib"]
    quick = ["embedding.steps=2", "embedding.draws=2", "tuning.steps=2", "tuning.draws=2", "tuning.rank=2"]
    assert script.main([*given, "--pairs", "1", "--set", *quick, "sampling.steps=2"]) == 0
    rows = json.loads((out / "scores.json").read_text())
    assert {row["way"] for row in rows} == {"imagic", "joint", "sdedit", "ddib"}
    assert all((out / row["picture"]).is_file() and row["score"] is None for row in rows)
    assert all(row["distance"] > 0 for row in rows)
    with (out / "scores.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    side = Image.open(out / rows[0]["picture"]).width
    assert Image.open(out / "sheet.png").width > 5 * side
    before = (out / "scores.json").stat().st_mtime_ns
    assert script.main([*given, "--pairs", "1", "--set", *quick, "sampling.steps=2"]) == 0
    assert (out / "scores.json").stat().st_mtime_ns == before, "what is there is not edited again"
