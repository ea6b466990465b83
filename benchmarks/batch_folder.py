"""A folder of 10,000 pictures through `semantic-edit batch`: memory, speed, and kills at random moments.

    memory    peak resident memory (ru_maxrss) of the command on a folder of 100 and on one of 10,000 pictures, each in
              a process of its own; the growth is what a picture costs
    kills     a process that works on a folder is ended by SIGKILL at random moments, again and again; after every kill
              all that the manifest names is compared with an undisturbed run, and in the end everything is

    python benchmarks/batch_folder.py [--pictures 10000] [--kills 100] [--work DIR]

The pictures are 100 renders of the demo world, each shifted, mirrored, dimmed and packed as a small JPEG; one in 250 is
cut short or no picture at all.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _harness import machine_facts, say, table
from PIL import Image
from semantic_edit.demo import render, sample_factors
from semantic_edit.headless import HeadlessSettings, use_headless
from semantic_edit.headless.commands.batch import make_job
from semantic_edit.headless.commands.cli import _parser, main
from semantic_edit.jobs import read_records, run_job
from semantic_edit.jobs.manifest import MANIFEST_NAME

EDIT = ["--direction", "turn_head", "--mode", "constant", "--strength", "1.5", "--device", "cpu"]
_MIB = 1024  # ru_maxrss counts KiB on Linux
_BAD = 250  # one in so many


def benchmark() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kill-pictures", type=int, default=400)
    parser.add_argument("--work", type=Path, help="a folder for pictures and results (default: a temporary one)")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(*options.child)
    say(machine_facts())
    with tempfile.TemporaryDirectory(prefix="batch-folder-") as temporary:
        work = options.work or Path(temporary)
        measure_memory(work, options.pictures)
        if options.kills:
            measure_kills(work, options.kills, options.kill_pictures)


def make_pictures(folder: Path, count: int) -> Path:
    """Small JPEG files 0.jpg, 1.jpg, ...; deterministic."""
    folder.mkdir(parents=True, exist_ok=True)
    factors = sample_factors(100, torch.Generator().manual_seed(77))
    base = ((render(factors, 128).images.movedim(1, -1) + 1) * 127.5).round().byte().numpy()
    for k in range(count):
        chance = np.random.default_rng(k)
        pixels = np.roll(base[k % len(base)], tuple(chance.integers(-6, 7, 2)), axis=(0, 1))
        pixels = pixels[:, ::-1] if chance.random() < 0.5 else pixels
        pixels = (pixels * chance.uniform(0.85, 1.0)).astype(np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "JPEG", quality=88)
        packed = content.getvalue()
        if k % _BAD == 17:
            packed = packed[: len(packed) // 2] if k % (2 * _BAD) == 17 else b"no picture"
        (folder / f"{k}.jpg").write_bytes(packed)
    return folder


def child(folder: str, output: str) -> None:
    """The command itself, and then what it took."""
    code = main(["batch", folder, "--output", output, *EDIT])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    facts = {"code": code, "peak": usage.ru_maxrss, "cpu": usage.ru_utime + usage.ru_stime}
    sys.stdout.write(json.dumps(facts) + "\n")


def measure_memory(work: Path, most: int) -> None:
    rows = []
    for count in (100, most):
        folder, output = make_pictures(work / f"pictures-{count}", count), work / f"results-{count}"
        began = time.perf_counter()
        command = [sys.executable, __file__, "--child", str(folder), str(output)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        curve = watched(process, output, count)
        lines = process.communicate()[0].splitlines()
        wall = time.perf_counter() - began
        facts = json.loads(lines[-1])
        say(lines[0])
        records = list(read_records(output))
        bad = sum(record.status != "done" for record in records)
        expected = sum(k % _BAD == 17 for k in range(count))
        if facts["code"] or len(records) != count or bad != expected:
            raise SystemExit(f"{count} pictures: {facts}, {len(records)} records, {bad} skipped, {expected} expected")
        peak, cpu = facts["peak"] / _MIB, facts["cpu"]
        way = ", ".join(f"{megabytes:.0f}" for megabytes in curve)
        rows.append((f"{count:,}", f"{peak:.0f} MiB", way, f"{wall:.0f} s", f"{cpu:.0f} s", f"{count / cpu:.0f}", bad))
        say(str(rows[-1]))
    head = ("pictures", "peak memory", "MiB at each tenth", "wall", "processor time", "pictures per processor second")
    say(table((*head, "skipped"), rows))


def watched(process: subprocess.Popen, output: Path, count: int) -> list[float]:
    """The process' memory (MiB) at each tenth of the way, as far as it can be seen."""
    curve: list[float] = []
    while process.poll() is None:
        time.sleep(min(2.0, count / 500))  # listing a large folder costs time too
        finished = len(list(output.glob("*.png"))) if output.is_dir() else 0
        if finished >= (len(curve) + 1) * count // 10:
            status = Path(f"/proc/{process.pid}/status")
            lines = status.read_text().splitlines() if status.exists() else []
            curve += [int(line.split()[1]) / _MIB for line in lines if line.startswith("VmRSS")]
    return curve


def measure_kills(work: Path, kills: int, count: int) -> None:
    """Fork a process that works, kill it at a random moment, look at what it left; until the job is done, and again."""
    folder = make_pictures(work / "pictures-kills", count)
    torch.set_num_threads(1)  # a fork keeps no other threads
    reference = work / "kills-reference"
    began = time.perf_counter()
    run_job(job_for(folder, reference))
    typical = time.perf_counter() - began
    wanted_lines, wanted_files = outcome(reference)
    job_for_round = job_for(folder, work / "kills-0")  # loads the networks before the first fork
    chance, done, rounds, redone, worst = random.Random(5), 0, 0, 0, 0
    while done < kills:
        output = work / f"kills-{rounds}"
        job = type(job_for_round)(**{**vars(job_for_round), "output": output})
        while done < kills:
            process = os.fork()
            if process == 0:
                code = 1
                try:
                    run_job(job)
                    code = 0
                finally:
                    os._exit(code)
            time.sleep(chance.uniform(0.0, typical / 6))
            os.kill(process, signal.SIGKILL)
            status = os.waitpid(process, 0)[1]
            if not os.WIFSIGNALED(status):
                if os.WEXITSTATUS(status):
                    raise SystemExit("a process failed by itself")
                break
            done += 1
            unrecorded = compare(output, wanted_lines, wanted_files)
            redone, worst = redone + unrecorded, max(worst, unrecorded)
        run_job(job)
        if outcome(output) != (wanted_lines, wanted_files):
            raise SystemExit(f"round {rounds}: the end differs from the undisturbed run")
        rounds += 1
    say(
        f"{done} kills over {rounds} jobs of {count} pictures: after each, every picture in the manifest was whole and "
        f"right; at the end manifests (without times) and pictures equal the undisturbed run's. Pictures that were "
        f"written but not yet recorded at a kill, and so made again: {redone} (at most {worst} at a kill)."
    )


def job_for(folder: Path, output: Path):
    """The job that the command would do."""
    options = _parser().parse_args(["batch", str(folder), "--output", str(output), *EDIT])
    return make_job(options, use_headless(HeadlessSettings(device="cpu")))


def outcome(folder: Path) -> tuple[dict[str, dict], dict[str, bytes]]:
    """The manifest's lines without times, in their order, and the bytes of every picture."""
    lines = {}
    if (folder / MANIFEST_NAME).exists():
        for line in (folder / MANIFEST_NAME).read_text().splitlines():
            record = json.loads(line)
            del record["seconds"], record["finished"]
            if record["file"] in lines:
                raise SystemExit(f"{record['file']} was worked on twice")
            lines[record["file"]] = record
    return lines, {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def compare(folder: Path, wanted_lines: dict, wanted_files: dict) -> int:
    """See that what a killed process left is true; returns how many results are not in the manifest."""
    if not folder.is_dir():
        return 0
    known = {record.file: record for record in read_records(folder)}
    files = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    for name, record in known.items():
        wanted = wanted_lines[name]
        if any(wanted[key] != getattr(record, key) for key in wanted):
            raise SystemExit(f"the manifest is wrong about {name}")
        if record.result and files.get(record.result) != wanted_files[record.result]:
            raise SystemExit(f"{record.result} is in the manifest and not right")
    wrong = [name for name, content in files.items() if content != wanted_files[name]]
    if wrong:
        raise SystemExit(f"half-written or wrong: {wrong[:3]}")
    return len(set(files) - {record.result for record in known.values()})


if __name__ == "__main__":
    benchmark()
