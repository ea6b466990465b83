"""Jobs in batches, in this process: the bytes of the plain way, at any address, from and into shards, resumed."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
import time

import pytest
from semantic_edit.headless.commands.cli import main
from semantic_edit.jobs import FolderJob, run_job
from semantic_edit.jobs.batch_manifest import PARTS, BatchManifest, convert_manifest
from semantic_edit.jobs.batches import BatchJob, dry_run, run_batches
from semantic_edit.jobs.batches.run import here
from semantic_edit.jobs.batches.worker import BatchWorker
from semantic_edit.jobs.frozen import thaw, write_frozen
from semantic_edit.jobs.manifest import DONE, Record
from semantic_edit.jobs.record_tables import FORMS, pack_records, unpack_records
from semantic_edit.jobs.stores import open_store
from semantic_edit.jobs.stores.remote import RemoteStore
from semantic_edit.models import InputError

TIMES = {"seconds": 0.0, "finished": ""}


def outcome(address):
    """The records without times, and every result's bytes."""
    store = open_store(address)
    records = [dataclasses.replace(record, **TIMES) for record in BatchManifest(store, "jsonl").read().values()]
    names = [entry.name for entry in store.entries() if entry.name.endswith(".png")]
    codes = [f"codes/{entry.name}" for entry in store.entries("codes")]
    return records, {name: store.read(name) for name in names + codes}


@pytest.fixture
def memory():
    """An address in fsspec's memory."""
    fsspec = pytest.importorskip("fsspec")
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield "memory://bucket"
    fs.store.clear()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("where", ["folder", "address"])
def test_batches_give_the_bytes_and_records_of_the_plain_way(small_edit, few_photos, tmp_path, memory, form, where):
    frozen = small_edit.frozen(source=str(few_photos), keep_codes=True)
    run_job(FolderJob(few_photos, tmp_path / "plain", thaw(frozen), keep_codes=True))
    if where == "address":
        source = open_store(f"{memory}/in")
        for path in few_photos.iterdir():
            source.put(path.name, path.read_bytes())
        frozen = dataclasses.replace(frozen, source=source.address)
    output = str(tmp_path / "out") if where == "folder" else f"{memory}/out"
    steps = []
    job = BatchJob(frozen, output, form, per_batch=6)
    report = run_batches(job, progress=lambda *step: steps.append(step[:2]))
    assert (report.total, report.done, report.skipped, report.passed_over) == (20, 18, 2, ("notes.txt",))
    assert [problem.split(":")[0] for problem in report.problems] == ["3.png", "11.png"]
    assert steps == [(0, 20), (6, 20), (12, 20), (18, 20), (20, 20)]
    (records, files), (plain_records, plain_files) = outcome(output), outcome(str(tmp_path / "plain"))
    assert files == plain_files and len(files) == 36
    if where == "address":  # a store's versions are no times of this machine
        records, plain_records = (
            [dataclasses.replace(r, source_time=0) for r in all_] for all_ in (records, plain_records)
        )
    assert sorted(records, key=lambda r: r.file) == sorted(plain_records, key=lambda r: r.file)
    assert [r.file for r in records] == [*(f"{k}.png" for k in range(20)), "notes.txt"]
    store = open_store(output)
    names = {entry.name for entry in store.entries()}
    assert {"jsonl": "manifest.jsonl", "parquet": "manifest.parquet"}[form] in names and not store.entries(PARTS)
    times = {entry: entry.version for entry in store.entries() if entry.name.endswith(".png")}
    again = run_batches(job)
    assert (again.done_before, again.done, again.skipped) == (18, 0, 2)
    assert {entry: entry.version for entry in store.entries() if entry.name.endswith(".png")} == times
    assert outcome(output)[0] == records if where == "folder" else True


def test_what_was_removed_or_changed_is_done_again_and_nothing_else(small_edit, few_photos, noise, tmp_path):
    job = BatchJob(small_edit.frozen(source=str(few_photos)), str(tmp_path / "out"), per_batch=5)
    assert run_batches(dataclasses.replace(job, count=7)).done == 6
    run_batches(job)
    noise(50).save(few_photos / "3.png")  # repaired
    noise(51).save(few_photos / "5.png")  # replaced
    noise(52).save(few_photos / "20.png")  # new
    (tmp_path / "out" / "8.png").write_bytes(b"")
    (tmp_path / "out" / "9.png").unlink()
    report = run_batches(job)
    assert (report.done_before, report.done, report.skipped) == (15, 5, 1)
    run_batches(dataclasses.replace(job, output=str(tmp_path / "fresh")))
    assert outcome(tmp_path / "out") == outcome(tmp_path / "fresh")


def test_a_folder_goes_from_one_engine_to_the_other_and_back(small_edit, few_photos, tmp_path):
    frozen, out = small_edit.frozen(source=str(few_photos)), tmp_path / "out"
    run_job(FolderJob(few_photos, out, thaw(frozen), count=5))
    report = run_batches(BatchJob(frozen, str(out), "parquet", count=6))
    assert (report.done_before, report.done) == (4, 6)  # of the first five, one is no picture
    assert (out / "manifest.parquet").is_file() and not (out / "manifest.jsonl").exists()
    report = run_job(FolderJob(few_photos, out, thaw(frozen)))
    assert (report.done_before, report.done, report.skipped) == (10, 8, 2)
    assert not (out / "manifest.parquet").exists()
    run_job(FolderJob(few_photos, tmp_path / "plain", thaw(frozen)))
    got, expected = outcome(out), outcome(tmp_path / "plain")
    assert got[1] == expected[1] and {r.file: r for r in got[0]} == {r.file: r for r in expected[0]}


def test_a_stop_between_batches_loses_none_and_repeats_none(small_edit, few_photos, tmp_path):
    frozen, out = small_edit.frozen(source=str(few_photos)), tmp_path / "out"
    job = BatchJob(frozen, str(out), "parquet", per_batch=4)

    def stop(step, total, preview=None):
        if step >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batches(job, progress=stop)
    assert len(list((out / PARTS).iterdir())) == 2 and not (out / "manifest.parquet").exists()
    report = run_batches(job)
    assert report.done_before == 7 and report.done == 11
    run_batches(dataclasses.replace(job, output=str(tmp_path / "fresh")))
    assert outcome(out) == outcome(tmp_path / "fresh")


def test_a_batch_that_is_on_record_is_not_done_again(small_edit, few_photos, tmp_path):
    """As when a worker dies between its record and its report."""
    job = BatchJob(small_edit.frozen(source=str(few_photos)), str(tmp_path / "out"), per_batch=10)
    worked = []

    def twice(job, batches):
        worker = BatchWorker(job)
        for batch in batches:
            first = worker.finish(batch)
            before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
            again = BatchWorker(job).finish(batch)
            assert (first.done, first.skipped) == (again.done, again.skipped)
            assert {path: path.stat().st_mtime_ns for path in before} == before
            worked.append(again)
            yield again

    assert run_batches(job, twice).done == 18 and len(worked) == 2


def test_a_batch_that_kills_its_workers_is_named_in_the_end(small_edit, few_photos, tmp_path):
    job = BatchJob(small_edit.frozen(source=str(few_photos)), str(tmp_path / "out"), per_batch=20)

    def deadly(job, batches):
        manifest = BatchManifest(open_store(job.output), job.form)
        for _ in range(20):
            manifest.count_try(batches[0].key)
        (text,) = BatchWorker(job)({"batch": [batches[0].pack()]})["report"]
        fields = json.loads(text)
        assert fields["error"]
        raise InputError(fields["error"])

    with pytest.raises(InputError, match=r"20 workers died.*from 0\.png to 19\.png.*more memory"):
        run_batches(job, deadly)
    assert run_batches(job).done == 18


def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def shards(few_photos, tmp_path):
    """The twenty pictures in two shards, with folders, sidecars and a name that comes twice; a third is cut short."""
    folder = tmp_path / "shards"
    folder.mkdir()
    contents = {k: (few_photos / f"{k}.png").read_bytes() for k in range(20)}
    first = [(f"a/{k:03}.png", contents[k]) for k in range(12)] + [("a/000.json", b"{}"), ("a/000.png", contents[19])]
    shard(folder / "00000.tar", first)
    shard(folder / "00001.tar", [(f"b.c/{k:03}.x.png", contents[k]) for k in range(12, 20)])
    whole = (folder / "00001.tar").read_bytes()
    (folder / "00002.tar").write_bytes(whole[: 3 * len(whole) // 5])
    return folder


def test_shards_are_read_and_written(small_edit, few_photos, shards, tmp_path):
    frozen = small_edit.frozen(source=str(few_photos))
    run_batches(BatchJob(frozen, str(tmp_path / "plain")))
    plain = outcome(tmp_path / "plain")[1]
    frozen = dataclasses.replace(frozen, source=str(shards))
    report = run_batches(BatchJob(frozen, str(tmp_path / "files")))
    records, files = outcome(tmp_path / "files")
    by_file = {record.file: record for record in records}
    assert by_file["00002.tar"].status == "skipped" and "cut short" in by_file["00002.tar"].problem
    assert by_file["00000.tar#a#003.png"].problem == "not a picture"
    assert by_file["00000.tar#a#000.png"].result == "00000.tar#a-000.png"
    assert files["00000.tar#a-000.png"] == plain["0.png"] and files["00000.tar#a-000-2.png"] == plain["19.png"]
    assert files["00001.tar#b.c-012.x.png"] == plain["12.png"]
    assert report.done == len(files) >= 11 + 8 + 2 and report.total == len(records)
    assert report.skipped == 3
    again = run_batches(BatchJob(frozen, str(tmp_path / "files")))
    assert (again.done, again.done_before) == (0, len(records))  # a shard that has not changed is not read again

    job = BatchJob(frozen, str(tmp_path / "out"), "parquet", shards=True)
    run_batches(job)
    names = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert names == ["00000.tar", "00001.tar", "00002.tar"]
    with tarfile.open(tmp_path / "out" / "00000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    assert members["a-000.png"] == plain["0.png"] and members["a-000-2.png"] == plain["19.png"]
    assert json.loads(members["a-000.json"])["alpha"] == by_file["00000.tar#a#000.png"].alpha
    content = (tmp_path / "out" / "00001.tar").read_bytes()
    (tmp_path / "out" / "00001.tar").unlink()
    assert run_batches(job).done == 8 and (tmp_path / "out" / "00001.tar").read_bytes() == content


def test_single_pictures_go_into_shards(small_edit, few_photos, tmp_path):
    frozen = small_edit.frozen(source=str(few_photos))
    run_batches(BatchJob(frozen, str(tmp_path / "plain")))
    job = BatchJob(frozen, str(tmp_path / "out"), per_batch=10, shards=True)
    assert run_batches(dataclasses.replace(job, count=5)).done == 4
    report = run_batches(job)
    assert (report.done_before, report.done) == (4, 14)
    pictures = {}
    for path in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(path) as tar:
            pictures |= {m.name: tar.extractfile(m).read() for m in tar if m.name.endswith(".png")}
    assert pictures == outcome(tmp_path / "plain")[1]
    again = run_batches(job)
    assert (again.done_before, again.done) == (18, 0)
    with pytest.raises(InputError, match="other settings.*results: none then, shards now"):
        run_batches(dataclasses.replace(job, output=str(tmp_path / "plain")))


def test_records_survive_both_forms_whatever_their_names():
    records = [
        Record(
            "a\udc80.png",
            DONE,
            "a\udc80.png",
            "",
            0.1,
            True,
            None,
            "",
            3,
            2**60 - 1,
            5,
            0.25,
            "now",
            "ab",
            -0.5,
            1.5,
            1,
        ),
        Record("b.png", "skipped", problem='not "a" picture\n', source_bytes=2**40),
    ]
    for form in FORMS:
        assert unpack_records(pack_records(records, form), form, "x") == records
        assert unpack_records(pack_records([], form), form, "x") == []
    with pytest.raises(InputError, match=r"x is no manifest in Parquet"):
        unpack_records(b"no table", "parquet", "x")
    bad = dataclasses.replace(records[0], result="../../escape.png")
    assert unpack_records(pack_records([bad, records[1]], "parquet"), "parquet", "x") == records[1:]


def test_the_command_converts_a_manifest_both_ways(small_edit, few_photos, tmp_path, capsys):
    out = tmp_path / "out"
    run_batches(BatchJob(small_edit.frozen(source=str(few_photos)), str(out)))
    lines = (out / "manifest.jsonl").read_bytes()
    assert main(["manifest", str(out), "--to", "parquet"]) == 0
    assert "21 records" in capsys.readouterr().out and not (out / "manifest.jsonl").exists()
    assert main(["manifest", str(out), "--to", "jsonl"]) == 0
    assert (out / "manifest.jsonl").read_bytes() == lines and not (out / "manifest.parquet").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no manifest"):
        convert_manifest(open_store(tmp_path / "empty"), "parquet")


def test_the_command_tries_out_and_takes_shards_and_addresses(small_edit, few_photos, shards, tmp_path, memory, capsys):
    def batch(source, output, *arguments):
        job = write_frozen(tmp_path / "job.safetensors", small_edit.frozen(source=str(source)))
        assert main(["batch", str(job), "--output", str(output), "--device", "cpu", *arguments]) == 0
        return capsys.readouterr().out

    assert "Nothing was written." in batch(few_photos, tmp_path / "a", "--dry-run") and not (tmp_path / "a").exists()
    batch(few_photos, tmp_path / "a")
    plain = outcome(tmp_path / "a")[1]
    assert len(plain) == 18 and (tmp_path / "a" / "manifest.jsonl").is_file()
    assert f"Results and manifest: {memory}/b" in batch(few_photos, f"{memory}/b")
    assert outcome(f"{memory}/b")[1] == plain
    batch(shards, tmp_path / "c")
    assert (tmp_path / "c" / "00000.tar#a-000.png").read_bytes() == plain["0.png"]
    batch(few_photos, tmp_path / "d", "--shards", "--per-batch", "20")
    (tar,) = (tmp_path / "d").glob("batch-*.tar")
    with tarfile.open(tar) as content:
        assert {name for name in content.getnames() if name.endswith(".png")} == set(plain)


def test_a_dry_run_measures_and_writes_nothing(small_edit, few_photos, tmp_path):
    job = BatchJob(small_edit.frozen(source=str(few_photos)), str(tmp_path / "out"))
    text = dry_run(job, workers=2, tried=10)
    assert "20 pictures in" in text and "0 are done" in text and "20 would be edited now" in text
    assert "The first 10 took" in text and "1 of them could not be read" in text and "with 2 workers" in text
    assert text.endswith("Nothing was written.") and not (tmp_path / "out").exists()
    run_batches(dataclasses.replace(job, count=15))
    assert "13 are done" in dry_run(job, tried=3)
    with pytest.raises(InputError, match="other settings"):
        dry_run(dataclasses.replace(job, frozen=small_edit.frozen(small_edit.transfer(), source=str(few_photos))))


def test_wrong_places_are_sentences_before_any_work(small_edit, few_photos, tmp_path, memory):
    def refused(words, frozen_changes=None, **changes):
        frozen = small_edit.frozen(**{"source": str(few_photos), **(frozen_changes or {})})
        with pytest.raises(InputError, match=words):
            run_batches(BatchJob(**{"frozen": frozen, "output": str(tmp_path / "out"), **changes}))

    refused("replace your pictures", output=str(few_photos / ".." / "few"))
    refused("does not exist", {"source": str(tmp_path / "gone")})
    refused("does not exist", {"source": f"{memory}/gone"})
    (tmp_path / "empty").mkdir()
    refused(r"holds no pictures.*shards of them \(\.tar\)", {"source": str(tmp_path / "empty")})
    refused("cannot be opened.*Expected an address such as s3", {"source": "nowhere://x"})
    refused("The chunk cannot be negative", chunk=-1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "0.png").touch()
    refused(r"holds other files \(0\.png\)", output=str(tmp_path / "full"))
    assert not (tmp_path / "out").exists()


def test_a_worker_whose_checkpoint_is_missing_says_so(small_edit, few_photos, tmp_path):
    frozen = small_edit.frozen(source=str(few_photos))
    (small_edit.folder / "encoder.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"A worker \(.*process \d+\) had to stop: encoder\.safetensors does not exist"
    ):
        run_batches(BatchJob(frozen, str(tmp_path / "out")))


def test_a_store_that_fails_now_and_then_is_asked_again(small_edit, few_photos, tmp_path, memory, monkeypatch):
    frozen = small_edit.frozen(source=str(few_photos))
    real, writes = RemoteStore._put, []

    def every_tenth_fails(self, path, content):
        writes.append(path)
        if len(writes) % 10 == 0:
            raise OSError("503 Slow Down")
        real(self, path, content)

    monkeypatch.setattr(RemoteStore, "_put", every_tenth_fails)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    run_batches(BatchJob(frozen, f"{memory}/out"))
    assert len(writes) > 20
    run_batches(BatchJob(frozen, str(tmp_path / "plain")))
    assert outcome(f"{memory}/out") == outcome(tmp_path / "plain")
    monkeypatch.setattr(RemoteStore, "_put", lambda *unused: (_ for _ in ()).throw(OSError("503 Slow Down")))
    with pytest.raises(InputError, match="cannot be written: 503 Slow Down.*goes on where it stopped"):
        run_batches(BatchJob(frozen, f"{memory}/out2"))


def test_a_checkpoint_may_be_at_an_address(small_edit, few_photos, tmp_path, memory):
    store = open_store(f"{memory}/models")
    for name in ("generator", "encoder"):
        store.put(f"{name}.safetensors", small_edit.folder / f"{name}.safetensors")
    places = {name: f"{memory}/models/{name}.safetensors" for name in ("generator", "encoder")}
    frozen = dataclasses.replace(small_edit.frozen(source=str(few_photos)), **places)
    assert run_batches(BatchJob(frozen, str(tmp_path / "out"), count=3)).done == 3
    store.remove(["encoder.safetensors"])
    with pytest.raises(InputError, match="There is no checkpoint memory://bucket/models/encoder"):
        list(here(BatchJob(frozen, str(tmp_path / "out2")), []))
        thaw(frozen)
