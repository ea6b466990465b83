"""Edit Folder and Animate Strength as ComfyUI runs them, and the command that does without."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from semantic_edit.demo.assets import PHOTOS
from semantic_edit.headless import StoppedError, use_headless
from semantic_edit.headless.commands import cli
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.document import Prompt
from semantic_edit.models import InputError, save_generator
from semantic_edit.models.encoders.encoder import save_encoder
from semantic_edit.models.files.direction import write_direction
from semantic_edit.nodes.one_for_all.edit_folder import EditFolder


@pytest.fixture
def world(run_node, headless_host, tiny_generator, tiny_encoder):
    """A generator, an encoder and a recorded edit as files, and nine pictures in input/trip; returns the direction."""
    models = headless_host.settings.models / "semantic_edit"
    save_generator(models / "generators" / "tiny.safetensors", tiny_generator.network)
    save_encoder(models / "encoders" / "tiny.safetensors", tiny_encoder)
    rng = torch.Generator().manual_seed(2)
    d = 0.3 * torch.randn(8, 16, generator=rng)
    fields = {"layers": (0, 1, 2), "start": 0.1, "offset": 2.0, "family": tiny_generator.family, "name": "smile"}
    write_direction(models / "directions" / "smile.safetensors", d, **fields)
    folder = headless_host.input_directory() / "trip"
    folder.mkdir()
    for k in range(9):
        Image.new("RGB", (48, 32), (25 * k, 80, 200 - 20 * k)).save(folder / f"{k}.jpg")
    (folder / "4.jpg").write_text("no picture")
    return run_node("LoadDirection", generator=tiny_generator, file="smile.safetensors")[0][0]


@pytest.fixture
def edit_folder(run_node, tiny_generator, world):
    def run(**inputs):
        inputs = {"direction": world, "folder": "trip", "encoder": "tiny.safetensors", **inputs}
        return run_node("EditFolder", generator=tiny_generator, **inputs)

    return run


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_folder_is_edited_and_shown(edit_folder, headless_host):
    (sheet, report, results), shown = edit_folder()
    folder = headless_host.output_directory() / "semantic_edit" / "batches" / "batch"
    assert results == str(folder) and report.startswith("8 of 9 pictures edited") and "4.jpg: not a picture" in report
    assert len(list(folder.glob("*.png"))) == 8 and len(manifest(folder)) == 9
    assert sheet.ndim == 4 and sheet.shape[0] == 1 and sheet.shape[-1] == 3 and len(shown["images"]) == 1
    assert list(shown["text"]) == [report]


def test_the_same_goes_on_and_other_settings_get_a_folder_of_their_own(edit_folder, headless_host):
    root = headless_host.output_directory() / "semantic_edit" / "batches"
    _, first, _ = edit_folder(name="set/a", most=3)[0]
    assert "6 are left" in first
    (_, second, results), _ = edit_folder(name="set/a")
    assert "3 were done before" in second and results == str(root / "set" / "a")
    (_, third, results), _ = edit_folder(name="set/a", strength=2.0, keep_codes=True)
    assert third.startswith("Other settings than before") and results == str(root / "set" / "a_2")
    assert len(list((root / "set" / "a_2" / "codes").iterdir())) == 8
    assert edit_folder(name="set/a", strength=2.0, keep_codes=True)[0][2] == results
    assert edit_folder(name="set/a")[0][2] == str(root / "set" / "a")


def test_the_queue_notices_new_pictures_and_what_is_left(edit_folder, headless_host):
    def state():
        return EditFolder.fingerprint_inputs("trip", "batch", "tiny.safetensors", most=3)

    states = [state()]
    edit_folder(most=3)
    states.append(state())
    edit_folder()
    states.append(state())
    edit_folder()
    assert state() == states[-1]  # nothing was left to do, so nothing is to be run again
    folder = headless_host.output_directory() / "semantic_edit" / "batches" / "batch"
    lost = next(folder.glob("*.png"))
    lost.unlink()
    states.append(state())
    edit_folder()
    assert lost.is_file()
    Image.new("RGB", (9, 9)).save(headless_host.input_directory() / "trip" / "new.png")
    states.append(state())
    assert len(set(states)) == 5
    assert EditFolder.fingerprint_inputs("gone", "batch", "tiny.safetensors") == ""


def test_a_stop_is_obeyed_between_pictures_and_the_rest_follows(edit_folder, headless_host, monkeypatch):
    real, calls = headless_host.check_interrupt, []

    def stop_soon():
        calls.append(1)
        if len(calls) == 4:
            headless_host.interrupt()
        real()

    monkeypatch.setattr(headless_host, "check_interrupt", stop_soon)
    with pytest.raises(StoppedError):
        edit_folder()
    folder = headless_host.output_directory() / "semantic_edit" / "batches" / "batch"
    assert 0 < len(manifest(folder)) < 9 and not list(folder.glob(".*partial"))
    headless_host.resume()
    assert "were done before" in edit_folder()[0][1]
    assert len(list(folder.glob("*.png"))) == 8


def test_inversion_and_reference_and_demo_photos(edit_folder, run_node, tiny_generator, headless_host, world):
    (latent, *_), _ = run_node("SampleLatents", generator=tiny_generator, count=1, seed=3)
    edit_folder(name="inverted", encoder="none", steps=1, most=1)
    edit_folder(name="reference", reference=latent, most=1)
    edit_folder(name="demo", folder="(demo photos)", most=2)
    edit_folder(name="corrected", reference=latent, corrections=1, most=2)
    root = headless_host.output_directory() / "semantic_edit" / "batches"
    alphas = [manifest(root / name)[0]["alpha"] for name in ("inverted", "reference", "demo")]
    assert 0 <= manifest(root / "corrected")[0]["confidence"] <= 1
    assert len(set(alphas)) == 3 and (root / "demo" / "ada.png").is_file()


@pytest.mark.parametrize("wrong", [{"mode": "constant"}, {"encoder": "none"}, {"mode": "number", "reference": True}])
def test_wrong_settings_are_refused_before_anything_is_learned(
    edit_folder, run_node, tiny_generator, monkeypatch, wrong
):
    monkeypatch.setattr("semantic_edit.editing.one_for_all.transfer.sample_features", None)
    if "reference" in wrong:
        wrong = wrong | {"reference": run_node("SampleLatents", generator=tiny_generator, count=1)[0][0]}
    with pytest.raises(InputError):
        edit_folder(corrections=1, **wrong)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"folder": "../secret"}, "There is no folder '../secret' below the input folder"),
        ({"folder": "empty"}, "holds no pictures"),
        ({"name": "../x"}, "cannot be used"),
        ({"name": ""}, "cannot be used"),
        ({"encoder": "gone.safetensors"}, "There is no file"),
        ({"encoder": "none"}, "Without an encoder"),
        ({"mode": "both"}, "Unknown mode 'both'"),
        ({"fit": "squeeze"}, "Unknown fit 'squeeze'"),
        ({"background": "pink"}, "Unknown background"),
    ],
)
def test_wrong_inputs_are_sentences_before_anything_is_written(edit_folder, headless_host, inputs, words):
    (headless_host.input_directory() / "empty").mkdir()
    with pytest.raises(InputError, match=words):
        edit_folder(**inputs)
    assert not (headless_host.output_directory() / "semantic_edit").exists()


@pytest.fixture
def film(run_node, tiny_generator, world):
    """Three codes; film(**inputs) -> frames."""
    (latent, *_), _ = run_node("SampleLatents", generator=tiny_generator, count=3, seed=3)

    def run(**inputs):
        inputs = {"latents": latent, "direction": world, "frame_count": 4, **inputs}
        (frames, count), _ = run_node("AnimateStrength", generator=tiny_generator, **inputs)
        assert len(frames) == count
        return frames

    run.latent = latent
    return run


def test_the_film_begins_unedited_ends_edited_and_comes_back(film, run_node, tiny_generator, world):
    frames = film(layout="one by one")
    assert frames.shape == (18, 32, 32, 3)  # 4 there, 2 back, for three pictures
    (plain,), _ = run_node("GenerateImages", generator=tiny_generator, latents=film.latent)
    (strengths, *_), _ = run_node("ComputeStrength", direction=world, latents=film.latent)
    (edited,), _ = run_node("ApplyEdit", latents=film.latent, direction=world, strength=strengths)
    (final,), _ = run_node("GenerateImages", generator=tiny_generator, latents=edited)
    for k in range(3):
        own = frames[6 * k : 6 * k + 6]
        assert torch.allclose(own[0], plain[k], atol=1e-5) and torch.allclose(own[3], final[k], atol=1e-5)
        assert torch.equal(own[1], own[5]) and torch.equal(own[2], own[4])
    by_strengths = film(layout="one by one", strengths=strengths)
    assert torch.equal(by_strengths, frames)


def test_the_slider_puts_all_into_one_state(film):
    frames = film(path="slider", loop="off", layout="grid", columns=3)
    assert frames.shape == (4, 32, 96, 3)
    square = film(path="slider", loop="off")
    assert square.shape == (4, 64, 64, 3) and bool((square[:, 32:, 32:] == 1).all())
    assert torch.equal(square[:, :32], frames[:, :, :64])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"path": "walk"}, "Unknown path 'walk'"),
        ({"easing": "bounce"}, "Unknown easing"),
        ({"loop": "twice"}, "Unknown loop"),
        ({"layout": "row"}, "Unknown layout"),
        ({"path": "slider", "strengths": True}, "Choose 'own path', or disconnect"),
        ({"strengths": 2}, "2 strengths for 3 pictures"),
        ({"frame_count": 1}, "'frame_count' is 1; expected a number from 2"),
        ({"frame_count": 2000, "latents": 300}, "GiB"),
    ],
)
def test_wrong_films_are_sentences(film, run_node, tiny_generator, world, inputs, words):
    if isinstance(inputs.get("latents"), int):
        inputs = {
            **inputs,
            "latents": run_node("SampleLatents", generator=tiny_generator, count=inputs["latents"], seed=1)[0][0],
        }
    if "strengths" in inputs:
        (few, *_), _ = run_node("SelectLatents", latents=film.latent, indices="0,1")
        latents = few if inputs["strengths"] == 2 else film.latent
        inputs = {**inputs, "strengths": run_node("ComputeStrength", direction=world, latents=latents)[0][0]}
    with pytest.raises(InputError, match=words):
        film(**inputs)


def test_a_move_of_the_slider_runs_only_strength_apply_and_synthesis(world, headless_host):
    runner = Runner(headless_host)

    def ran(strength):
        by_wire = {"direction": ["edit", 0], "latents": ["codes", 0]}
        nodes = {
            "load": ("LoadGenerator", {"file": "tiny.safetensors"}),
            "edit": ("LoadDirection", {"generator": ["load", 0], "file": "smile.safetensors", "rows": "as saved"}),
            "codes": (
                "SampleLatents",
                {"generator": ["load", 0], "count": 2, "seed": 1, "truncation": 1.0}
                | {"truncation_layers": 0, "label": -1},
            ),
            "strength": ("ComputeStrength", {**by_wire, "strength": strength, "mode": "same state", "limit": 0.0}),
            "apply": ("ApplyEdit", {**by_wire, "strength": ["strength", 0]}),
            "draw": (
                "GenerateImages",
                {"generator": ["load", 0], "latents": ["apply", 0], "noise": "none", "noise_seed": 0},
            ),
        }
        graph = {
            name: {"class_type": f"SemanticEdit{kind}", "inputs": inputs, "_meta": {}}
            for name, (kind, inputs) in nodes.items()
        }
        graph["show"] = {"class_type": "PreviewImage", "inputs": {"images": ["draw", 0]}, "_meta": {}}
        return runner.run(Prompt(graph)).ran

    assert len(ran(1.0)) == 7
    assert ran(0.5) == ["strength", "apply", "draw", "show"]
    assert ran(0.5) == []


@pytest.fixture
def command(world, headless_host, tmp_path, capsys):
    """command(*arguments) -> (code, out, err) of `semantic-edit batch` with the tiny networks."""
    models = headless_host.settings.models / "semantic_edit"
    files = [f"--{kind}={models / (kind + 's') / 'tiny.safetensors'}" for kind in ("generator", "encoder")]
    files.append(f"--direction={models / 'directions' / 'smile.safetensors'}")

    def run(*arguments):
        folder, output = tmp_path / "input" / "trip", tmp_path / "out"
        code = cli.main(["batch", str(folder), *files, f"--output={output}", "--device=cpu", *map(str, arguments)])
        use_headless(headless_host.settings)
        return code, *capsys.readouterr()

    return run


def test_the_command_edits_goes_on_and_refuses_other_settings(command, tmp_path):
    code, out, err = command("--count=3", "--chunk=2")
    assert (code, err) == (0, "") and "3 of 9 pictures edited" in out and str(tmp_path / "out") in out
    code, out, _ = command("--codes")
    assert code == 2
    code, out, _ = command()
    assert code == 0 and "3 were done before" in out and "4.jpg: not a picture" in out
    code, out, err = command("--strength=2")
    assert (code, out) == (2, "") and "strength: 1.0 then, 2.0 now" in err and len(err.splitlines()) == 1


def test_the_command_and_the_node_make_the_same_pictures(command, edit_folder, headless_host, tmp_path):
    command()
    edit_folder()
    node = headless_host.output_directory() / "semantic_edit" / "batches" / "batch"
    ours = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert len(ours) == 8 and ours == {path.name: path.read_bytes() for path in node.glob("*.png")}


def test_the_node_freezes_a_job_that_the_command_and_the_node_do_again(edit_folder, headless_host, tmp_path, capsys):
    (_, report, results), _ = edit_folder(strength=0.7, keep_codes=True)
    jobs = list((headless_host.output_directory() / "semantic_edit" / "jobs").iterdir())
    assert len(jobs) == 1 and f"Frozen as {jobs[0].name}" in report
    edit_folder(strength=0.7, keep_codes=True)
    assert len(list(jobs[0].parent.iterdir())) == 1
    assert cli.main(["batch", str(jobs[0]), f"--output={tmp_path / 'again'}", "--device=cpu"]) == 0
    use_headless(headless_host.settings)
    pictures = {path.name: path.read_bytes() for path in Path(results).glob("*.png")}
    assert len(pictures) == 8
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").glob("*.png")} == pictures
    again = edit_folder(job=jobs[0].name)[0]  # the other inputs are at their defaults, and do not count
    assert again[2] == results and "8 were done before" in again[1] and "Frozen as" not in again[1]
    assert EditFolder.fingerprint_inputs("trip", "batch", "tiny.safetensors", job=jobs[0].name)
    with pytest.raises(InputError, match=r"frozen with another encoder; expected its own \(.*tiny\.safetensors\)"):
        edit_folder(job=jobs[0].name, encoder="none", steps=1)
    with pytest.raises(InputError, match="gone"):
        edit_folder(job="gone.safetensors")


def test_a_job_planned_by_the_command_is_done_by_the_node(world, edit_folder, headless_host, tmp_path):
    models = headless_host.settings.models / "semantic_edit"
    files = [f"--{kind}={models / (kind + 's') / 'tiny.safetensors'}" for kind in ("generator", "encoder")]
    files.append(f"--direction={models / 'directions' / 'smile.safetensors'}")
    job = models / "jobs" / "trip.safetensors"
    folder = str(tmp_path / "input" / "trip")
    assert cli.main(["plan", folder, *files, "--limit=0.5", f"--output={job}"]) == 0
    use_headless(headless_host.settings)
    (_, _, results), _ = edit_folder(job="trip.safetensors", strength=3.0)
    with_limit = edit_folder(name="other", limit=0.5)[0][2]
    ours, theirs = ({p.name: p.read_bytes() for p in Path(f).glob("*.png")} for f in (results, with_limit))
    assert len(ours) == 8 and ours == theirs


def test_the_state_of_a_reference_picture_is_reached(command, tmp_path):
    reference = tmp_path / "input" / "trip" / "2.jpg"
    assert command(f"--reference={reference}")[0] == 0
    alphas = {line["file"]: line["alpha"] for line in manifest(tmp_path / "out")}
    assert abs(alphas["2.jpg"]) < 1e-5 < abs(alphas["3.jpg"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--direction=grin"], "neither a file 'grin' nor a shipped one among the directions: glasses, hat"),
        (["--direction=no.safetensors"], "no.safetensors does not exist"),
        (["--direction=smile"], "belongs to another generator"),
        (["--encoder=none"], "Without an encoder"),
        (["--mode=constant", "--corrections=1"], "no state to correct toward"),
        (["--limit=0"], "--limit is 0"),
        (["--reference=none.png"], "The reference none.png cannot be used"),
        (["--reference=x.png", "--mode=constant"], "does not go together"),
        (["--chunk=-1"], "cannot be negative"),
        (["--device=cuda:99"], "is not available"),
    ],
)
def test_wrong_options_are_sentences(command, tmp_path, arguments, words):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "") and words in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_shipped_slider_works_at_the_defaults_and_says_what_its_state_is(tmp_path, capsys, headless_host):
    source = PHOTOS / "ada.png"
    (tmp_path / "input" / "a.png").write_bytes(source.read_bytes())
    code = cli.main(["batch", str(tmp_path / "input"), "--direction=smile", f"--output={tmp_path / 'o'}"])
    printed = capsys.readouterr()
    assert code == 0 and "the generator's average picture is taken" in printed.out, printed.err
    (line,) = manifest(tmp_path / "o")
    assert line["alpha"] != 1.0


def test_a_name_that_comes_by_a_wire_is_looked_after_at_every_run(headless_host):
    inputs = {"folder": "(demo photos)", "encoder": "none"}
    assert math.isnan(EditFolder.fingerprint_inputs(name=None, **inputs))
    assert EditFolder.fingerprint_inputs(name="a", **inputs) == EditFolder.fingerprint_inputs(name="a", **inputs)
