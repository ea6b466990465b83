"""A folder on Ray against one process: bytes, rate, memory of a worker; and kills of workers and drivers.

    rate      the same pictures by this process and by Ray with two workers, one thread each: the rate once all workers
              have their networks, the processor time of a picture, and the share of the time that workers worked
    kills     commands with --engine ray work on a folder; at random moments one of their workers, or the command
              itself, is ended by SIGKILL, and the command is started again until the folder is done, and then the next
              folder; after every death of a command, all that is on record is compared with an undisturbed run, and in
              the end everything is

    python benchmarks/ray_folder.py [--pictures 2000] [--kills 100] [--kill-pictures 400] [--work DIR]

The pictures are those of batch_folder.py; one in 250 is cut short or no picture at all.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from _harness import machine_facts, say, table
from batch_folder import EDIT, make_pictures
from semantic_edit.headless.commands.batch_options import frozen_job
from semantic_edit.headless.commands.cli import _parser
from semantic_edit.jobs.batch_manifest import PARTS, BatchManifest
from semantic_edit.jobs.batches import BatchJob, RayEngine, run_batches
from semantic_edit.jobs.batches.run import here
from semantic_edit.jobs.stores import open_store

WORKERS = 2
_RAY = ["--engine", "ray", "--workers", str(WORKERS)]
_CODE = "import sys; from semantic_edit.headless.commands.cli import main; sys.exit(main(sys.argv[1:]))"
_DRIVERS = 0.25  # share of kills that end the command, not a worker
_EARLY = 0.2  # share of commands that may be hit before their first batch is done
_TIMES = ("seconds", "finished")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kill-pictures", type=int, default=400)
    parser.add_argument("--per-batch", type=int, default=8, help="of the folders with kills")
    parser.add_argument("--work", type=Path, help="a folder for pictures and results (default: a temporary one)")
    options = parser.parse_args()
    say(machine_facts())
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="ray-folder-") as temporary:
        work = options.work or Path(temporary)
        if options.pictures:
            measure_rate(work, options.pictures)
        if options.kills:
            measure_kills(work, options.kills, options.kill_pictures, options.per_batch)


def command(folder: Path, output: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-c", _CODE, "batch", str(folder), "--output", str(output), *EDIT, *arguments]


def finished(arguments: list[str]) -> str:
    """Run a command to its end and return what it printed."""
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout  # noqa: S603


def measure_rate(work: Path, count: int) -> None:
    """Print a row for one process and one for Ray, and compare what they made."""
    torch.set_num_threads(1)
    folder = make_pictures(work / f"pictures-{count}", count)
    options = _parser().parse_args(["batch", str(folder), "--output", str(work), *EDIT])
    frozen = frozen_job(options, torch.device("cpu"))
    rows, rates = [], []
    for name, engine, workers in (("one process", here, 1), (f"Ray, {WORKERS} workers", RayEngine(WORKERS), WORKERS)):
        job = BatchJob(frozen, str(work / f"results-{workers}"), "parquet", per_batch=16, threads=1)
        reports, times = [], []

        def watched(job, batches, engine=engine, reports=reports, times=times):
            for report in engine(job, batches):
                reports.append(report)
                times.append(time.time())
                yield report

        began = time.time()
        run_batches(job, watched, workers=workers)
        wall = time.time() - began
        # Every worker's first batch loads its networks; what counts is how it goes on.
        first = {report.worker: k for k, report in reversed(list(enumerate(reports)))}
        later = [report for k, report in enumerate(reports) if k not in first.values()]
        pictures = sum(report.done + report.skipped for report in later)
        window = times[-1] - times[max(first.values())]
        rate = sum(r.done + r.skipped for r in reports[max(first.values()) + 1 :]) / window
        busy = sum(report.seconds for report in reports[max(first.values()) + 1 :]) / (window * len(first))
        processor = sum(report.processor for report in later) / pictures
        memory = max(report.memory for report in reports)
        rows.append(
            (name, f"{wall:.0f} s", f"{rate:.1f}", f"{1000 * processor:.0f} ms", f"{busy:.0%}", f"{memory:.0f} MiB")
        )
        rates.append((rate, processor))
        say(str(rows[-1]))
    if outcome(work / "results-1") != outcome(work / f"results-{WORKERS}"):
        raise SystemExit("Ray made other results than one process")
    head = (
        "",
        "wall, with start",
        "pictures a second at work",
        "processor a picture",
        "workers busy",
        "memory of a worker",
    )
    say(table(head, rows))
    say(
        f"Records and bytes of {count} pictures are the same. Ray at work was {rates[1][0] / rates[0][0]:.2f} times as "
        f"fast, and a picture took {rates[1][1] / rates[0][1]:.2f} times the processor time."
    )


def measure_kills(work: Path, kills: int, count: int, per_batch: int) -> None:
    """Kill, start again, compare; until the number of kills is reached and the last folder is done."""
    folder = make_pictures(work / "pictures-kills", count)
    reference = work / "kills-reference"
    finished(command(folder, reference))
    expected = outcome(reference)
    chance, killed, rounds, drivers, redone = random.Random(5), Counter(), 0, 0, 0
    while killed["worker"] + killed["command"] < kills:
        output = work / f"kills-{rounds}"
        is_done = False
        while not is_done:
            drivers += 1
            driver = subprocess.Popen(  # noqa: S603
                command(folder, output, *_RAY, "--per-batch", str(per_batch)), stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            is_done = harass(driver, output, chance, killed, kills)
            redone += compare(output, expected)
        if outcome(output) != expected:
            raise SystemExit(f"folder {rounds}: the end differs from the undisturbed run")
        rounds += 1
        say(f"{rounds} folders done, {dict(killed)} killed, {drivers} commands")
    workers, commands = killed["worker"], killed["command"]
    say(
        f"{workers + commands} kills ({workers} of workers, {commands} of commands) over {rounds} folders of {count} "
        f"pictures, {drivers} commands: after each dead command, every picture on record was whole and right; at the "
        "end manifests (without times) and pictures equal the undisturbed run's, each picture once. Pictures that "
        f"were written but not on record when a command died, and so made again: {redone}."
    )


def harass(driver: subprocess.Popen, output: Path, chance: random.Random, killed: Counter, kills: int) -> bool:
    """Kill workers of a command, or the command, at random moments; returns whether the command ended well."""
    began = time.time()
    if chance.random() > _EARLY:  # else the first kill may fall into the start
        while driver.poll() is None and not has_new_batch(output, began):
            time.sleep(0.02)
    while driver.poll() is None:
        # A worker takes some seconds to start; kills follow each other in every phase of its life.
        wait = time.time() + chance.uniform(0.0, 15.0)
        while time.time() < wait and driver.poll() is None:
            time.sleep(0.02)
        if driver.poll() is not None or killed["worker"] + killed["command"] >= kills:
            continue
        if chance.random() < _DRIVERS:
            driver.kill()
            killed["command"] += 1
            say(f"{time.strftime('%H:%M:%S')} the command; {dict(killed)}")
            break
        workers = [pid for pid, name in descendants(driver.pid) if name.startswith("ray::") and "Agent" not in name]
        if workers:
            try:
                os.kill(chance.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed["worker"] += 1
            say(f"{time.strftime('%H:%M:%S')} a worker; {dict(killed)}")
    error = driver.communicate()[1]
    if "Ray cannot be started here" in error:  # a machine so busy that Ray gives up on itself
        killed["start that failed"] += 1
    elif driver.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"a command failed by itself: {error[-2000:]}")
    deadline = time.time() + 60
    while any_left(output) and time.time() < deadline:
        time.sleep(0.1)  # what the command started ends with it, a moment later
    return driver.returncode == 0


def has_new_batch(output: Path, since: float) -> bool:
    """Tell whether a batch was finished after a time."""
    for file in output.glob(f"{PARTS}/*.parquet"):
        try:
            if file.stat().st_mtime > since:
                return True
        except FileNotFoundError:  # joined into the manifest meanwhile
            continue
    return False


def descendants(root: int) -> list[tuple[int, str]]:
    """Processes below one, with the beginnings of their command lines."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
                names[int(entry.name)] = (entry / "cmdline").read_text().split("\0")[0]
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    below, size = {root}, 0
    while len(below) > size:
        size = len(below)
        below |= {pid for pid, parent in parents.items() if parent in below}
    return [(pid, names[pid]) for pid in below - {root} if pid in names]


def any_left(output: Path) -> bool:
    """Tell whether a worker still writes to a folder: a partial file is there."""
    folders = [folder for folder in (output, output / PARTS) if folder.is_dir()]
    return any(name.endswith(".partial") for folder in folders for name in os.listdir(folder))


def outcome(folder: Path) -> tuple[list[dict], dict[str, bytes]]:
    """The records in their order, without times, and the bytes of every picture."""
    manifest = BatchManifest(open_store(folder), "jsonl")
    records = [{k: v for k, v in vars(record).items() if k not in _TIMES} for record in manifest.read().values()]
    return sorted(records, key=lambda record: record["file"]), {p.name: p.read_bytes() for p in folder.glob("*.png")}


def compare(folder: Path, expected: tuple[list[dict], dict[str, bytes]]) -> int:
    """See that what a dead command left is true; returns how many results are not on record."""
    if not folder.is_dir():
        return 0
    records, files = outcome(folder)
    known = {record["file"]: record for record in expected[0]}
    for record in records:
        if record != known[record["file"]]:
            raise SystemExit(f"the manifest is wrong about {record['file']}")
        if record["result"] and files.get(record["result"]) != expected[1][record["result"]]:
            raise SystemExit(f"{record['result']} is on record and not right")
    wrong = [name for name, content in files.items() if content != expected[1][name]]
    if wrong:
        raise SystemExit(f"half-written or wrong: {wrong[:3]}")
    return len(set(files) - {record["result"] for record in records})


if __name__ == "__main__":
    main()
