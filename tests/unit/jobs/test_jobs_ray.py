"""Ray for real: the bytes of the plain way, workers and drivers that die, a store that fails every tenth write."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from semantic_edit.editing.state.response import ResponsePrior
from semantic_edit.headless.commands.cli import main
from semantic_edit.jobs import FolderJob, run_job
from semantic_edit.jobs.batch_manifest import PARTS, BatchManifest
from semantic_edit.jobs.batches import BatchJob, RayEngine, run_batches
from semantic_edit.jobs.frozen import thaw, write_frozen
from semantic_edit.jobs.reader_recipes import ReaderRecipe
from semantic_edit.jobs.state_transfer import StateTransfer
from semantic_edit.jobs.stores import open_store
from semantic_edit.models import InputError

TIMES = {"seconds": 0.0, "finished": "", "source_time": 0}


def outcome(address):
    """The records without times, and every picture's bytes."""
    store = open_store(str(address))
    records = [dataclasses.replace(record, **TIMES) for record in BatchManifest(store, "parquet").read().values()]
    names = [entry.name for entry in store.entries() if entry.name.endswith(".png")]
    return sorted(records, key=lambda record: record.file), {name: store.read(name) for name in names}


class EveryTenthWriteFails:
    """A web application that answers every tenth PUT with an error, and others as the one behind it does."""

    def __init__(self, application):
        self.application, self.writes, self.failures = application, 0, 0
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] == "PUT":
            with self.lock:
                self.writes += 1
                fails = self.writes % 10 == 0
                self.failures += fails
            if fails:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
                return [b"<Error><Code>InternalError</Code><Message>every tenth</Message></Error>"]
        return self.application(environ, start_response)


@pytest.fixture(scope="module")
def failing_store():
    """A server of moto on this machine, with the variables that lead S3's clients to it."""
    moto_server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    from werkzeug.serving import make_server

    application = EveryTenthWriteFails(moto_server.DomainDispatcherApplication(moto_server.create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",  # what is repeated is repeated by us
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, text in variables.items():
            patch.setenv(name, text)
        yield application
    server.shutdown()


@pytest.fixture(scope="module")
def ray(failing_store):
    """Ray with two CPUs, for all tests of this file."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
            patch.setenv(name, "0")
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20,
            log_to_driver=False, logging_level="error",
        )  # fmt: skip
        yield ray
        ray.shutdown()


def test_two_workers_give_the_bytes_of_the_plain_way_though_one_is_killed(ray, small_edit, few_photos, tmp_path):
    frozen = small_edit.frozen(source=str(few_photos))
    run_job(FolderJob(few_photos, tmp_path / "plain", thaw(frozen)))
    reports = []

    def killing(job, batches):
        for report in RayEngine(workers=2)(job, batches):
            if not reports:
                os.kill(int(report.worker.split()[-1]), signal.SIGKILL)
            reports.append(report)
            yield report

    report = run_batches(BatchJob(frozen, str(tmp_path / "out"), "parquet", per_batch=2), killing)
    assert (report.total, report.done, report.skipped) == (20, 18, 2)
    assert outcome(tmp_path / "out") == outcome(tmp_path / "plain")
    assert len(reports) == 10 and len({report.worker for report in reports}) >= 2
    assert report.memory > 100 and not (tmp_path / "out" / PARTS).exists()


def test_a_state_that_a_sentence_reads_is_reached_on_ray_as_here(ray, small_edit, few_photos, tmp_path):
    recipe = ReaderRecipe("text", "a person with a hat", "a person", "demo_portraits")
    curve = ResponsePrior(torch.linspace(-1, 1, 5), torch.linspace(0, 4, 5), 0.3, 0.1)
    edit = (small_edit.generator, small_edit.direction, small_edit.encoder)
    reached = StateTransfer(*edit, reader=recipe.make(), state=0.5, rounds=1, response=curve, recipe=recipe)
    run_job(FolderJob(few_photos, tmp_path / "plain", reached))
    frozen = small_edit.frozen(reached, source=str(few_photos))
    report = run_batches(BatchJob(frozen, str(tmp_path / "out"), "parquet", per_batch=10), RayEngine(workers=1))
    assert (report.done, report.skipped) == (18, 2)
    assert outcome(tmp_path / "out") == outcome(tmp_path / "plain")


def test_a_store_that_fails_every_tenth_write_loses_nothing(ray, failing_store, small_edit, few_photos, tmp_path):
    import s3fs

    s3fs.S3FileSystem().mkdir("pictures")
    source = open_store("s3://pictures/in")
    for path in few_photos.iterdir():
        source.put(path.name, path.read_bytes())
    frozen = small_edit.frozen(source=source.address)
    before = failing_store.failures
    report = run_batches(BatchJob(frozen, "s3://pictures/out", "parquet", per_batch=4), RayEngine(workers=1))
    assert (report.done, report.skipped) == (18, 2) and failing_store.failures >= before + 2
    run_job(FolderJob(few_photos, tmp_path / "plain", thaw(frozen)))
    assert outcome("s3://pictures/out") == outcome(tmp_path / "plain")


def test_a_worker_whose_checkpoint_is_missing_says_so(ray, small_edit, few_photos, tmp_path):
    frozen = small_edit.frozen(source=str(few_photos))
    (small_edit.folder / "generator.safetensors").rename(small_edit.folder / "away.safetensors")
    job = BatchJob(frozen, str(tmp_path / "out"), "parquet")
    with pytest.raises(
        InputError, match=r"A worker \(.*process \d+\) had to stop: generator\.safetensors does not exist"
    ):
        run_batches(job, RayEngine(workers=1))


def test_what_ray_has_no_room_for_is_a_sentence(ray, small_edit, few_photos, tmp_path):
    job = BatchJob(small_edit.frozen(source=str(few_photos)), str(tmp_path / "out"), "parquet")
    with pytest.raises(InputError, match="Ray has 2 CPUs and 0 GPUs, room for 2 workers of 1 CPUs.*64 were asked for"):
        run_batches(job, RayEngine(workers=64))
    with pytest.raises(InputError, match="room for 0 workers of 1 CPUs and 1 GPUs"):
        run_batches(job, RayEngine(gpus=1))
    with pytest.raises(InputError, match="Expected numbers above 0"):
        RayEngine(cpus=0)


def test_the_command_goes_on_after_its_driver_was_killed(ray, small_edit, noise, tmp_path, capsys):
    """`batch JOB --engine ray --address` joins Ray from a process of its own, and is killed at its first results."""
    photos, out = tmp_path / "many", tmp_path / "out"
    photos.mkdir()
    for k in range(160):
        noise(k).save(photos / f"{k}.png")
    job = write_frozen(tmp_path / "many.safetensors", small_edit.frozen(source=str(photos)))
    command = ["batch", str(job), "--output", str(out), "--engine", "ray", "--workers", "1", "--per-batch", "8"]
    address = ["--address", ray.get_runtime_context().gcs_address]
    code = "import sys; from semantic_edit.headless.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    with open(tmp_path / "log", "w") as log:
        driver = subprocess.Popen([sys.executable, "-c", code, *command, *address], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not list(out.glob(f"{PARTS}/*.parquet")) and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    finished = len(list(out.glob(f"{PARTS}/*.parquet")))
    assert finished
    assert main(command) == 0
    words = capsys.readouterr().out
    done, before = map(int, re.search(r"(\d+) of 160 pictures edited.*, (\d+) were done before", words).groups())
    assert before >= 8 * finished and done == 160 - before
    assert main([*command[:3], str(tmp_path / "plain")]) == 0
    assert outcome(out) == outcome(tmp_path / "plain") and len(outcome(out)[1]) == 160


def test_without_the_package_one_sentence_says_how_to_install_it(small_edit, few_photos, tmp_path, monkeypatch, capsys):
    job = write_frozen(tmp_path / "job.safetensors", small_edit.frozen(source=str(few_photos)))
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    assert main(["batch", str(job), "--output", str(tmp_path / "out"), "--engine", "ray"]) == 2
    message = capsys.readouterr().err
    assert 'pip install "semantic-edit[ray]"' in message and len(message.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    for package in ("pyarrow", "fsspec"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install .semantic-edit\[ray\]"):
        run_batches(BatchJob(small_edit.frozen(source="s3://bucket/x"), str(tmp_path / "out")))
    with pytest.raises(InputError, match=r"pyarrow is missing.*semantic-edit\[ray\]"):
        run_batches(BatchJob(small_edit.frozen(source=str(few_photos)), str(tmp_path / "out"), "parquet"))
