"""A folder brought to one state that a reader reads: each picture alone, whoever shares its chunk."""

from __future__ import annotations

import argparse
import json

import pytest
import torch
from semantic_edit.editing.state import StateReader, reader_from_mask
from semantic_edit.headless.commands.batch_options import _recipe, add_edit_options
from semantic_edit.jobs import FolderJob, read_records, run_job
from semantic_edit.jobs.batches import BatchJob, run_batches
from semantic_edit.jobs.frozen import read_frozen, thaw, write_frozen
from semantic_edit.jobs.manifest import MANIFEST_NAME
from semantic_edit.jobs.reader_recipes import ReaderRecipe
from semantic_edit.jobs.settings import describe_transfer
from semantic_edit.jobs.state_transfer import StateTransfer
from semantic_edit.models import InputError
from semantic_edit.models.checkpoint import read_safetensors, write_safetensors
from semantic_edit.models.files.picture_reader import read_picture


@pytest.fixture
def photos(noise, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(10):
        noise(k).save(folder / f"{k}.png")
    return folder


@pytest.fixture
def transfer(small_edit, photos):
    """All pictures to the brightness that the middle one of them has before the edit."""
    reader = reader_from_mask(None, ("brightness",))
    edit = (small_edit.generator, small_edit.direction, small_edit.encoder)
    transfer = StateTransfer(*edit, reader=reader, state=0.5)
    pictures = torch.stack([
        read_picture(file, small_edit.generator.resolution, "crop", (255, 255, 255))[0].movedim(-1, 0) * 2 - 1
        for file in sorted(photos.iterdir())
    ])  # fmt: skip
    drawn = small_edit.generator.synthesize(transfer.encode(pictures))
    middle = float(reader.read(drawn).median())
    return StateTransfer(*edit, reader=reader, state=middle, rounds=4, response=transfer.response)


def test_pictures_reach_the_state_and_the_manifest_says_what_was_read(photos, transfer, tmp_path):
    report = run_job(FolderJob(photos, tmp_path / "out", transfer))
    records = [record for record in read_records(tmp_path / "out") if record.status == "done"]
    assert report.done == len(records) == 10
    reached = [record for record in records if not record.clamped]
    assert len(reached) >= 5
    before = torch.tensor([record.before for record in reached])
    after = torch.tensor([record.after for record in reached])
    assert (after - transfer.state).abs().mean() < 0.15 * (before - transfer.state).abs().mean()
    assert all(record.drawings >= 2 for record in records)
    assert any(record.alpha for record in records)


def test_results_depend_neither_on_the_chunk_nor_on_a_stop(photos, transfer, tmp_path):
    outcomes = []
    for name, options in (("one", {"chunk": 1}), ("all", {}), ("stopped", {"count": 3})):
        job = FolderJob(photos, tmp_path / name, transfer, **options)
        run_job(job)
        if name == "stopped":
            run_job(FolderJob(photos, tmp_path / name, transfer))
        lines = [json.loads(line) for line in (tmp_path / name / MANIFEST_NAME).read_text().splitlines()]
        for line in lines:
            del line["seconds"], line["finished"]
        pictures = {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.png")}
        outcomes.append((sorted(lines, key=lambda line: line["file"]), pictures))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_who_cannot_be_read_is_left_out_with_a_reason(photos, transfer, small_edit, tmp_path):
    def half(pictures):
        brightness = transfer.reader.read(pictures)
        return torch.where(brightness > transfer.state, torch.nan, brightness)

    reader = StateReader(half, ("brightness",), key="half")
    blind = StateTransfer(
        small_edit.generator, small_edit.direction, small_edit.encoder, reader=reader, state=transfer.state,
        response=transfer.response,
    )  # fmt: skip
    run_job(FolderJob(photos, tmp_path / "out", blind))
    records = list(read_records(tmp_path / "out"))
    skipped = [record for record in records if record.status == "skipped"]
    assert 0 < len(skipped) < 10
    assert {record.problem for record in skipped} == {"its brightness cannot be read"}


def test_another_state_is_another_job(photos, transfer, small_edit, tmp_path):
    run_job(FolderJob(photos, tmp_path / "out", transfer, count=1))
    other = StateTransfer(
        small_edit.generator, small_edit.direction, small_edit.encoder, reader=transfer.reader, state=0.1,
        rounds=4, response=transfer.response,
    )  # fmt: skip
    with pytest.raises(InputError, match="state"):
        run_job(FolderJob(photos, tmp_path / "out", other))


def test_wrong_inputs_are_sentences(transfer, small_edit):
    def refused(words, **options):
        common = {"reader": transfer.reader, "state": 0.5, "response": transfer.response}
        with pytest.raises(InputError, match=words):
            StateTransfer(small_edit.generator, small_edit.direction, small_edit.encoder, **{**common, **options})

    refused("a reader of one number; got none", reader=None)
    refused("got red, blue", reader=reader_from_mask(None, ("red", "blue")))
    refused("must be a finite number", state=float("nan"))
    refused("goes together with neither", mode="number")
    constant = StateReader(lambda pictures: torch.zeros(len(pictures)), ("nothing",))
    refused("does not change with the strength", reader=constant, response=None)
    with pytest.raises(InputError, match=r"reads brightness .* was made in a graph"):
        small_edit.frozen(transfer)


def test_the_command_line_names_what_reads():
    def recipe(*words):
        parser = argparse.ArgumentParser()
        add_edit_options(parser)
        return _recipe(parser.parse_args(words), (32, 32))

    assert recipe() is None
    assert recipe("--read-mask", "brightness", "--state", "0.5").make().names == ("brightness",)
    assert recipe("--read-text", "a hat", "--state", "2").make().names == ("a hat",)
    for words, sentence in (
        (("--state", "1"), "--state is a number that a reader reads"),
        (("--read-mask", "red", "--read-text", "a face"), "Several --read"),
        (("--read-mask", "red", "--rounds", "-1"), "--rounds is -1"),
    ):
        with pytest.raises(InputError, match=sentence):
            recipe(*words)


@pytest.fixture(params=["mask", "text", "example"])
def made_anywhere(request, transfer, photos):
    """The edit with a reader that a frozen job can hold, brought to what one of the pictures shows."""
    pictures = [read_picture(photos / name, (32, 32), "crop", (255, 255, 255))[0] for name in ("1.png", "2.png")]
    before, after = ((picture.movedim(-1, 0)[None] * 2 - 1).contiguous() for picture in pictures)
    recipe = {
        "mask": ReaderRecipe("mask", "brightness"),
        "text": ReaderRecipe("text", "a person with a hat", "a person", "demo_portraits"),
        "example": ReaderRecipe("example", scorer="demo_portraits", before=before, after=after),
    }[request.param]
    reader = recipe.make()
    edit = (transfer.generator, transfer.direction, transfer.encoder)
    state = float(reader.read(transfer.generator.synthesize(transfer.encode(before)))[0, 0])
    # The curve of brightness, of the height of this reader's numbers: a random generator answers to no sentence.
    return StateTransfer(*edit, reader=reader, state=state, rounds=2, response=transfer.response, recipe=recipe)


def test_a_frozen_job_holds_the_reader_and_the_curve(photos, made_anywhere, small_edit, tmp_path):
    path = write_frozen(tmp_path / "job.safetensors", small_edit.frozen(made_anywhere, source=str(photos)))
    job = read_frozen(path)
    assert write_frozen(tmp_path / "again.safetensors", job).read_bytes() == path.read_bytes()
    again = thaw(job)
    assert describe_transfer(again) == json.loads(json.dumps(describe_transfer(made_anywhere)))
    outcomes = []
    for name, edit in (("at once", made_anywhere), ("frozen", again)):
        run_job(FolderJob(photos, tmp_path / name, edit))
        records = [(r.file, r.alpha, r.before, r.after, r.drawings) for r in read_records(tmp_path / name)]
        outcomes.append((sorted(records), {file.name: file.read_bytes() for file in (tmp_path / name).glob("*.png")}))
    run_batches(BatchJob(job, str(tmp_path / "batches"), "jsonl", per_batch=3))
    outcomes.append((outcomes[0][0], {file.name: file.read_bytes() for file in (tmp_path / "batches").glob("*.png")}))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_damaged_readers_are_sentences(transfer, small_edit, tmp_path):
    recipe = ReaderRecipe("mask", "brightness")
    edit = (small_edit.generator, small_edit.direction, small_edit.encoder)
    frozen = small_edit.frozen(
        StateTransfer(*edit, reader=recipe.make(), state=0.5, response=transfer.response, recipe=recipe)
    )
    tensors, metadata = read_safetensors(write_frozen(tmp_path / "job.safetensors", frozen))
    config = json.loads(metadata["config"])

    def refused(words, remove="", **reader):
        kept = {name: tensor for name, tensor in tensors.items() if name != remove}
        changed = {**config, "reader": {**config["reader"], **reader}}
        write_safetensors(tmp_path / "x.safetensors", kept, "job", changed, family=metadata["family"])
        with pytest.raises(InputError, match=words):
            read_frozen(tmp_path / "x.safetensors")

    refused("damaged job.*its reader", way="face")
    refused("damaged job.*reads 'charm'", text="charm")
    refused("damaged job.*its reader's example", way="example")
    refused("damaged job", state="much")
    refused("damaged job.*curve_shape", remove="curve_shape")
