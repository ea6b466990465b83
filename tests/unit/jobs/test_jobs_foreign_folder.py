"""An output folder that somebody else prepared: a job writes to its own files in it, and to nothing they lead to."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.editing.one_for_all.transfer import Transfer
from semantic_edit.jobs import FolderJob, read_records, run_job
from semantic_edit.jobs.lock import LOCK_NAME, FolderLock
from semantic_edit.jobs.manifest import MANIFEST_NAME, Manifest, Record
from semantic_edit.models import InputError


@pytest.fixture
def job(tiny_generator, tiny_encoder, tmp_path):
    direction = 0.3 * torch.randn(8, 16, generator=torch.Generator().manual_seed(2))
    edit = EditDirection(direction, direction, (0, 1, 2), start=0.1, offset=2.0, family=tiny_generator.family)
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{k}.png")
    return FolderJob(photos, tmp_path / "out", Transfer(tiny_generator, edit, tiny_encoder), keep_codes=True)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


NAMES = {
    "result": ["{abs}", "../photos/1.png", "sub/x.png", "..", ".hidden.png", "x.txt", "x\0.png", "", 5, None],
    "code": ["{abs}", "../photos/1.png", "codes/../../x.safetensors", "codes/.x.safetensors", "codes/x.png", "x", 5],
    "file": ["../photos/1.png", "{abs}", ".hidden.png", "a/b.png", "", 5],
}


@pytest.mark.parametrize(("field", "name"), [(field, name) for field, names in NAMES.items() for name in names])
def test_a_line_that_names_a_file_elsewhere_counts_as_damaged(tmp_path, caplog, field, name):
    name = name.replace("{abs}", str(tmp_path / "mine.png")) if isinstance(name, str) else name
    good = {"file": "1.png", "status": "done", "result": "1.png", "code": "codes/1.safetensors"}
    lines = [json.dumps(line) for line in (good, {**good, field: name}, {**good, "file": "2.png"})]
    (tmp_path / MANIFEST_NAME).write_text("\n".join(lines) + "\n")
    assert [record.file for record in read_records(tmp_path)] == ["1.png", "2.png"]
    assert "line 2 is damaged" in caplog.text


@pytest.mark.parametrize("result", ["{abs}", "../photos/1.png", "../mine.png"])
def test_a_foreign_manifest_replaces_nothing_outside(job, tmp_path, result):
    run_job(job)
    expected = contents(job.output)
    before = contents(job.source)
    (tmp_path / "mine.png").write_bytes(b"mine")
    name = result.replace("{abs}", str(tmp_path / "mine.png"))
    lines = [json.loads(line) for line in (job.output / MANIFEST_NAME).read_text().splitlines()]
    lines[1]["result"], lines[1]["source_time"] = name, 0
    (job.output / MANIFEST_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = run_job(job)
    assert (report.done, report.done_before) == (1, 2)
    assert (tmp_path / "mine.png").read_bytes() == b"mine" and contents(job.source) == before
    assert {name: expected[name] for name in ("0.png", "1.png", "2.png")}.items() <= contents(job.output).items()


def test_two_pictures_that_claim_one_result_get_one_each(job):
    run_job(job)
    expected = contents(job.output)
    with Manifest(job.output) as manifest:
        first = next(read_records(job.output))
        manifest.add(Record("1.png", "done", first.result, first.code, result_bytes=first.result_bytes))
    report = run_job(job)
    assert report.done == 1 and len({record.result for record in list(read_records(job.output))[-1:]}) == 1
    assert contents(job.output)["0.png"] == expected["0.png"] and contents(job.output)["1.png"] == expected["1.png"]


@pytest.mark.parametrize("name", [LOCK_NAME, MANIFEST_NAME])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_among_a_jobs_files_is_refused_and_its_target_stays(job, tmp_path, name, link):
    run_job(job)
    (tmp_path / "mine").write_bytes(b"mine\nhalf a line")
    (job.output / name).unlink()
    link(tmp_path / "mine", job.output / name)
    with pytest.raises(InputError, match=rf"{name} is a link, or no plain file"):
        run_job(job)
    assert (tmp_path / "mine").read_bytes() == b"mine\nhalf a line"


def test_a_fifo_for_a_lock_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / LOCK_NAME)
    with pytest.raises(InputError, match="is a link, or no plain file"):
        FolderLock(tmp_path).__enter__()


def test_a_link_for_the_folder_of_codes_is_refused(job, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".semantic_edit-0123456789abcdef.partial").write_bytes(b"of another job")
    job.output.mkdir()
    run_job(FolderJob(job.source, job.output, job.transfer, keep_codes=True, count=1))
    shutil.rmtree(job.output / "codes")
    os.symlink(tmp_path / "elsewhere", job.output / "codes")
    with pytest.raises(InputError, match="codes is a link"):
        run_job(job)
    assert os.listdir(tmp_path / "elsewhere") == [".semantic_edit-0123456789abcdef.partial"]


def test_links_among_results_are_replaced_and_not_followed(job, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"mine")
    run_job(FolderJob(job.source, job.output, job.transfer, keep_codes=True, count=1))
    os.symlink(tmp_path / "mine.png", job.output / "1.png")
    run_job(job)
    assert (tmp_path / "mine.png").read_bytes() == b"mine" and not (job.output / "1.png").is_symlink()


def test_the_users_own_files_are_not_swept(job):
    run_job(job)
    names = [".mine.partial", ".mine-a1b2c3d4.partial", ".semantic_edit-notes.partial"]
    for name in names:
        (job.output / name).write_bytes(b"mine")
    left = [".semantic_edit-0123456789abcdef.partial", "codes/.semantic_edit-fedcba9876543210.partial"]
    for name in left:
        (job.output / name).write_bytes(b"half")
    run_job(job)
    assert all((job.output / name).read_bytes() == b"mine" for name in names)
    assert not any((job.output / name).exists() for name in left)


def test_an_output_folder_that_vanishes_during_the_job_is_a_sentence_and_stays_gone(job):
    def vanish(step, total, preview):
        if step == 1:
            shutil.rmtree(job.output, ignore_errors=True)

    with pytest.raises(InputError, match=r"The output folder .* cannot be used \(No such file or directory\)"):
        run_job(FolderJob(job.source, job.output, job.transfer, keep_codes=True, chunk=1), vanish)
    assert not job.output.exists()
    for picture in job.source.iterdir():
        picture.write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be used"):  # nothing but a line for each to write
        run_job(FolderJob(job.source, job.output, job.transfer, chunk=1), vanish)
    assert not job.output.exists()


def test_names_with_line_breaks_and_stray_bytes_do_not_break_the_report(job):
    for name in (b"a\nb\x1b[2J.png", b"c\xff.png"):
        open(os.path.join(os.fsencode(job.source), name), "wb").close()
    report = run_job(job)
    assert report.problems == (r"a\nb\x1b[2J.png: not a picture", r"c\xff.png: not a picture")
    assert str(report).encode() and report.skipped == 2
