"""A folder through one edit: any pictures, any chunks, any order, killed and resumed, and the same bytes each time."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.editing.common.types import EditDirection
from semantic_edit.editing.one_for_all.transfer import Transfer
from semantic_edit.jobs import FolderJob, read_records, run_job
from semantic_edit.jobs.manifest import MANIFEST_NAME
from semantic_edit.models import InputError
from semantic_edit.models.files.latents import read_latent


@pytest.fixture
def transfer(tiny_generator, tiny_encoder):
    d = 0.3 * torch.randn(8, 16, generator=torch.Generator().manual_seed(2))
    edit = EditDirection(d, d, (0, 1, 2), start=0.1, offset=2.0, family=tiny_generator.family, name="smile")
    return Transfer(tiny_generator, edit, tiny_encoder, limit=0.4)


def noise(seed: int, size=(32, 32)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size)


@pytest.fixture
def photos(tmp_path):
    """Twenty pictures, two of which are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(20):
        noise(k).save(folder / f"{k}.png")
    (folder / "3.png").write_text("no picture")
    content = (folder / "11.png").read_bytes()
    (folder / "11.png").write_bytes(content[: len(content) // 2])
    return folder


def outcome(folder):
    """The manifest without its times, and the bytes of every other file but the lock."""
    lines = [json.loads(line) for line in (folder / MANIFEST_NAME).read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["finished"]
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    contents = {name: path.read_bytes() for name, path in files.items() if name not in (MANIFEST_NAME, "job.json")}
    return lines, {name: content for name, content in contents.items() if not name.startswith(".semantic_edit")}


def test_every_picture_is_edited_and_bad_ones_are_told(photos, transfer, tmp_path):
    reports = []
    job = FolderJob(photos, tmp_path / "out", transfer, keep_codes=True)
    report = run_job(job, lambda step, total, preview: reports.append((step, total, preview)))
    assert (report.total, report.done, report.skipped, report.done_before) == (20, 18, 2, 0)
    assert [problem.split(":")[0] for problem in report.problems] == ["3.png", "11.png"]
    assert "18 of 20 pictures edited" in str(report) and "3.png: not a picture" in str(report)
    steps = [step for step, _, preview in reports]
    assert steps == sorted(steps) and steps[-1] == 20 and {total for _, total, _ in reports} == {20}
    assert sum(preview is not None for *_, preview in reports) == 18
    records = {record.file: record for record in read_records(tmp_path / "out")}
    assert [name for name, record in records.items() if record.status == "skipped"] == ["3.png", "11.png"]
    pixels = torch.from_numpy(np.array(noise(7))).movedim(-1, 0)[None].float() / 127.5 - 1
    alone = transfer(pixels)
    with Image.open(tmp_path / "out" / records["7.png"].result) as result:
        pixels_of_file = torch.from_numpy(np.array(result)).movedim(-1, 0).float() / 127.5 - 1
    assert (pixels_of_file - alone.images[0].clamp(-1, 1)).abs().max() <= 1.001 / 255
    assert records["7.png"].alpha == pytest.approx(float(alone.strength.alpha[0]), abs=1e-6)
    assert {record.clamped for record in records.values() if record.status == "done"} == {True, False}
    stored = read_latent(tmp_path / "out" / records["7.png"].code)
    assert torch.allclose(stored.codes, alone.codes, atol=1e-6) and stored.names == ("7.png",)
    assert report.clamped == sum(record.clamped for record in records.values())


def test_results_do_not_depend_on_chunks_order_or_interruptions(photos, transfer, tmp_path):
    reference = tmp_path / "reference"
    run_job(FolderJob(photos, reference, transfer))
    for chunk in (1, 5, 100):
        run_job(FolderJob(photos, tmp_path / f"chunk{chunk}", transfer, chunk=chunk))
        assert outcome(tmp_path / f"chunk{chunk}") == outcome(reference)
    backwards = tmp_path / "backwards"
    backwards.mkdir()
    for k in range(20):
        os.link(photos / f"{k}.png", backwards / f"{100 - k}.png")
    run_job(FolderJob(backwards, tmp_path / "b", transfer))
    for k in (0, 1, 7, 19):
        assert (tmp_path / "b" / f"{100 - k}.png").read_bytes() == (reference / f"{k}.png").read_bytes()
    parts = FolderJob(photos, tmp_path / "parts", transfer, count=7)
    reports = [run_job(parts) for _ in range(4)]
    # 3.png is skipped in the first run and looked at again in each later one, 11.png likewise from the third.
    assert [report.done + report.skipped for report in reports] == [7, 8, 8, 2]
    assert [str(report).splitlines()[-1] for report in reports[:2]] == [
        "13 are left for the next time.",
        "6 are left for the next time.",
    ]
    assert outcome(tmp_path / "parts") == outcome(reference)


def test_nothing_is_done_twice_and_what_changed_is_done_again(photos, transfer, tmp_path):
    job = FolderJob(photos, tmp_path / "out", transfer)
    run_job(job)
    first = outcome(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    again = run_job(job)
    assert (again.done_before, again.done, again.skipped) == (18, 0, 2)  # what was no picture is looked at once more
    assert outcome(tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in times} == times
    noise(50).save(photos / "3.png")  # repaired
    noise(51).save(photos / "5.png")  # replaced
    noise(52).save(photos / "20.png")  # new
    (tmp_path / "out" / "8.png").write_bytes(b"")  # what a power cut leaves
    (tmp_path / "out" / "9.png").unlink()
    more = run_job(job)
    assert (more.done_before, more.done, more.skipped) == (15, 5, 1)
    new_folder = tmp_path / "new_folder"
    run_job(FolderJob(photos, new_folder, transfer))
    latest = {line["file"]: line for line in outcome(tmp_path / "out")[0]}
    assert latest == {line["file"]: line for line in outcome(new_folder)[0]}
    assert outcome(tmp_path / "out")[1] == outcome(new_folder)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kills_at_random_moments_lose_and_change_nothing(photos, transfer, tmp_path):
    reference, out = tmp_path / "reference", tmp_path / "out"
    began = time.monotonic()
    run_job(FolderJob(photos, reference, transfer, keep_codes=True))
    typical = time.monotonic() - began
    expected, chance = outcome(reference), random.Random(1)
    expected_lines = {line["file"]: line for line in expected[0]}
    kills = 0
    for _ in range(60):
        child = os.fork()
        if child == 0:
            run_job(FolderJob(photos, out, transfer, keep_codes=True))
            os._exit(0)
        time.sleep(chance.uniform(0, typical))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        kills += os.WIFSIGNALED(status)
        for record in read_records(out):
            line = expected_lines[record.file]
            assert (record.status, record.alpha, record.result) == (line["status"], line["alpha"], line["result"])
            if record.result:
                assert (out / record.result).read_bytes() == expected[1][record.result]
                assert (out / record.code).read_bytes() == expected[1][record.code]
        if not os.WIFSIGNALED(status) or kills >= 8:
            break
    assert kills
    run_job(FolderJob(photos, out, transfer, keep_codes=True))
    assert outcome(out) == expected


def test_a_stop_keeps_what_is_finished_and_leaves_nothing_half(photos, transfer, tmp_path):
    def stop(step, total, preview):
        if step == 12:
            raise KeyboardInterrupt

    job = FolderJob(photos, tmp_path / "out", transfer, keep_codes=True)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, stop)
    lines, files = outcome(tmp_path / "out")
    assert len(lines) == 12 and len([name for name in files if name.endswith(".png")]) == 10
    assert not [name for name in files if "partial" in name]
    run_job(job)
    run_job(FolderJob(photos, tmp_path / "whole", transfer, keep_codes=True))
    assert outcome(tmp_path / "out") == outcome(tmp_path / "whole")


def test_other_settings_are_refused_with_their_names(photos, transfer, tmp_path):
    out = tmp_path / "out"
    run_job(FolderJob(photos, out, transfer, count=1))
    before = outcome(out)
    rows = transfer.direction
    other_edit = EditDirection(rows.direction * 1.01, rows.normal, rows.layers, rows.start, rows.offset, name="smile")
    encoder = transfer.encoder
    changes = {
        "strength: 1.0 then, 2.0 now": {"transfer": Transfer(transfer.generator, rows, encoder, 2.0, limit=0.4)},
        "direction: smile": {"transfer": Transfer(transfer.generator, other_edit, encoder, limit=0.4)},
        "limit: 0.4 then, none now": {"transfer": Transfer(transfer.generator, rows, encoder)},
        "inversion steps: 0 then, 1 now": {"transfer": Transfer(transfer.generator, rows, encoder, limit=0.4, steps=1)},
        "fit: crop then, pad now": {"fit": "pad"},
        "background": {"background": (0, 0, 0)},
        "codes: not kept then, kept now": {"keep_codes": True},
        "input folder": {"source": tmp_path / "other"},
    }
    (tmp_path / "other").mkdir()
    noise(1).save(tmp_path / "other" / "0.png")
    for words, change in changes.items():
        inputs = {"source": photos, "output": out, "transfer": transfer, **change}
        with pytest.raises(InputError, match="holds a batch with other settings") as caught:
            run_job(FolderJob(**inputs))
        assert words in str(caught.value)
    assert outcome(out) == before


def test_wrong_folders_are_sentences_before_any_work(photos, transfer, tmp_path):
    def refused(words, **changes):
        with pytest.raises(InputError, match=words):
            run_job(FolderJob(**{"source": photos, "output": tmp_path / "out", "transfer": transfer, **changes}))

    refused("does not exist", source=tmp_path / "none")
    refused("replace your pictures", output=photos / ".." / "photos")
    refused("Unknown fit", fit="squeeze")
    refused("cannot be negative", chunk=-1)
    (tmp_path / "empty").mkdir()
    refused("holds no pictures", source=tmp_path / "empty")
    (tmp_path / "file").touch()
    refused("is a file", output=tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "0.png").touch()
    refused(r"holds other files \(0\.png\)", output=tmp_path / "full")
    assert not (tmp_path / "out").exists() and (tmp_path / "full" / "0.png").read_bytes() == b""


def test_a_disk_that_fills_up_is_a_sentence_and_the_job_goes_on_later(photos, transfer, tmp_path, monkeypatch):
    out, real = tmp_path / "out", os.replace
    written = []

    def full(source, target):
        written.append(target)
        if len(written) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(InputError, match=r"The output folder .* is full .* start the same job again"):
            run_job(FolderJob(photos, out, transfer))
    lines, files = outcome(out)
    assert len([line for line in lines if line["status"] == "done"]) == 5  # the sixth was job.json
    assert not [name for name in files if "partial" in name]
    run_job(FolderJob(photos, out, transfer))
    run_job(FolderJob(photos, tmp_path / "whole", transfer))
    assert outcome(out) == outcome(tmp_path / "whole")


def test_an_output_folder_that_cannot_be_made_is_a_sentence(photos, transfer, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="The output folder .* cannot be used"):
        run_job(FolderJob(photos, tmp_path / "file" / "out", transfer))


def test_files_that_are_no_pictures_by_name_are_on_record_once(photos, transfer, tmp_path):
    for name in ("notes.txt", "raw.psd", ".hidden"):
        (photos / name).touch()
    job = FolderJob(photos, tmp_path / "out", transfer, count=2)
    report = run_job(job)
    assert (report.total, report.passed_over) == (20, ("notes.txt", "raw.psd"))
    assert "2 files were passed over" in str(report) and str(report).endswith("notes.txt, raw.psd.")
    run_job(job)
    records = [record for record in read_records(tmp_path / "out") if "passed over" in record.problem]
    assert [(record.file, record.status) for record in records] == [("notes.txt", "skipped"), ("raw.psd", "skipped")]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "raw.psd").touch()
    with pytest.raises(InputError, match="holds no pictures.*HEIC into it.*raw.psd"):
        run_job(FolderJob(tmp_path / "other", tmp_path / "out2", transfer))


def test_pictures_of_every_kind_are_fitted(transfer, tmp_path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    noise(1, (64, 40)).save(folder / "wide.jpg")
    noise(2).convert("CMYK").save(folder / "cmyk.jpg")
    noise(3).convert("LA").save(folder / "grey_alpha.png")
    noise(4).convert("P").save(folder / "palette.gif")
    noise(5).convert("1").save(folder / "bits.tif")
    noise(6).convert("YCbCr").save(folder / "video.jpg")
    Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64).save(folder / "sixteen.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    noise(7, (32, 48)).save(folder / "turned.jpg", exif=turned)
    noise(8).save(folder / "moving.webp", save_all=True, append_images=[noise(9)])
    noise(8).save(folder / "still.webp")
    (folder / "empty.png").touch()
    os.symlink(folder / "gone", folder / "link.png")
    report = run_job(FolderJob(folder, tmp_path / "out", transfer))
    assert (report.done, report.skipped) == (10, 1), report.problems
    for record in read_records(tmp_path / "out"):
        if record.result:
            with Image.open(tmp_path / "out" / record.result) as picture:
                assert picture.size == (32, 32) and picture.mode == "RGB"
    records = {record.file: record for record in read_records(tmp_path / "out")}
    assert records["moving.webp"].alpha == pytest.approx(records["still.webp"].alpha, abs=0.05)
