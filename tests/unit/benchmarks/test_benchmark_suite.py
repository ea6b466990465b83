"""The suite of benchmarks: what it counts, what it draws, and that one command runs it."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def part(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def test_the_floor_counts_operations_and_bytes(part):
    floor = part("_floor")
    plain = floor.convolution(2, 3, 5, 7, 11, 1, 3, 16)
    assert plain.operations == 2 * 2 * 3 * 5 * 9 * 77 and plain.bytes == 2 * 77 * 8 + 135
    doubled = floor.convolution(2, 3, 5, 7, 11, 2, 3, 16)
    assert doubled.operations == plain.operations + 2 * 16 * 2 * 5 * 4 * 77
    assert doubled.bytes == 2 * 77 * (3 + 20) + 135
    assert floor.in_bytes(plain, torch.float16).bytes == 2 * plain.bytes
    rates = floor.Rates(operations=1000.0, bytes=10.0)
    assert rates.floor(floor.Cost(5000, 1)) == 5 and rates.floor(floor.Cost(1, 500)) == 50


def test_a_synthesis_is_the_sum_of_its_layers(part, tiny_network):
    floor = part("_floor")
    one, three = floor.synthesis(tiny_network, 1), floor.synthesis(tiny_network, 3)
    assert three.operations == 3 * one.operations and one.bytes < three.bytes < 3 * one.bytes
    run = tiny_network.synthesis
    least = sum(
        2 * getattr(getattr(run, run.block_names[index]), name).weight.numel() * run.layer_size(layer)[1] ** 2 / up**2
        for layer, (index, name) in enumerate(run.layers)
        for up in (getattr(getattr(run, run.block_names[index]), name).up,)
    )
    assert least < one.operations < 1.5 * least


def test_straight_lines_are_told_from_bent_ones(part):
    straightness = part("_floor").straightness
    slope, start, fit = straightness([1, 2, 4, 8], [3.0, 5.0, 9.0, 17.0])
    assert (slope, start, fit) == pytest.approx((2.0, 1.0, 1.0))
    assert straightness([1, 2, 4, 8], [1.0, 4.0, 16.0, 64.0])[2] < 0.95


def test_plots_are_drawn(part, tmp_path):
    from PIL import Image

    plots = part("_plots")
    plots.bars("Ratios", [("one", 2.5, 0.3), ("two", 0.4, None)], tmp_path / "bars.png")
    lines = {"forward": [(1, 0.5), (2, 1.0), (4, 2.0)], "lone": [(3, 0.1)]}
    plots.curves("Growth", [("pictures", "seconds", lines), ("pixels", "MiB", {})], tmp_path / "curves.png")
    for name in ("bars", "curves"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(2**20)) > 3


def test_a_page_keeps_what_a_person_wrote(part, tmp_path):
    pages = part("_pages")
    path = pages.write_page("speed", "| a |\n|---|\n| 1 |", "python benchmarks/speed.py", "2 cores", folder=tmp_path)
    assert path.read_text().startswith("# speed\n") and "`python benchmarks/speed.py`" in path.read_text()
    path.write_text(path.read_text().replace("# speed", "# How fast") + "\nIt is the cache.\n")
    pages.write_page("speed", "| b |", folder=tmp_path)
    text = path.read_text()
    assert text.startswith("# How fast") and text.endswith("It is the cache.\n")
    assert "| b |" in text and "| a |" not in text and "2 cores" not in text
    path.write_text(text.replace(pages.END, ""))
    with pytest.raises(ValueError, match=r"speed\.md needs one"):
        pages.write_page("speed", "| c |", folder=tmp_path)


def test_one_command_runs_it_and_saves(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "kernels", "--repeats", "1"]
    done = subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "times our reference path" in done.stdout and "float32" in done.stdout and "torch " in done.stdout
    saved = json.loads((tmp_path / "suite.json").read_text())
    assert saved["facts"]["device"] and saved["facts"]["rates"]["operations"] > 0
    assert all(row["floor"] > 0 and row["ratio"] > 0 and row["operations"] > 0 for row in saved["ratios"])
    assert (tmp_path / "suite.png").stat().st_size > 1000


def test_growth_measures_time_and_memory_of_a_process_of_its_own(part):
    growth = part("growth")
    task = {"kind": "gradient", "pixels": 16, "batch": 2, "base": 256, "size": 2, "threads": 1, "repeats": 1}
    facts = growth.run_child(task)
    assert facts["seconds"] > 0 and 0 <= facts["peak"] < 500
    points = [{"series": "batch", "kind": "forward", "size": n, "seconds": n / 10, "peak": 5.0} for n in (1, 2, 4)]
    assert "| batch | forward | 1, 2, 4 |" in growth.report(points)


def test_every_script_of_the_suite_is_there(part):
    for name in part("run").SCRIPTS:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file()


def test_methods_stand_beside_their_bare_passes(part):
    methods, case = part("methods"), part("_methods").Case
    spin = torch.rand(128, 128)

    def work(times):
        return lambda: [spin @ spin for _ in range(times)]

    def run(told):
        told(0, 4)
        for step in range(1, 5):
            work(60)()
            told(step, 4, spin if step == 2 else None)

    cells = methods.measured({"ours": case(run, work(30), 4, "half of a step")}, 3)
    assert len(cells) == len(methods.HEAD) - 2 and 5 < float(cells[2].rstrip("%")) < 300 and cells[-2:] == ("", "")
    whole = methods.measured(dict.fromkeys(("ours", "before"), case(lambda _: work(60)(), work(60), 0, "all")), 3)
    assert whole[3] == "" and all(0.2 < float(cell.split()[0]) < 5 for cell in whole[-2:])


def test_another_checkout_stands_beside_this_one(part):
    package = part("_methods").Package
    ours, other = package(), package("semantic_edit_other", ROOT)
    assert ours("models.errors", "InputError") is not other("models.errors", "InputError")
    with pytest.raises(SystemExit, match="no checkout"):
        package("semantic_edit_nowhere", ROOT / "benchmarks")


def test_what_the_methods_look_up_by_name_is_there(part):
    package = part("_methods").Package()
    tree = ast.parse((ROOT / "benchmarks" / "_methods.py").read_text(encoding="utf-8"))
    constants = [
        [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in ("pk", "package")
    ]
    names = {tuple(pair) for pair in constants if len(pair) == 2}
    assert len(names) > 30
    missing = []
    for module, name in sorted(names):
        try:
            package(module, name)
        except (ImportError, AttributeError) as error:
            missing.append(str(error))
    assert missing == []
