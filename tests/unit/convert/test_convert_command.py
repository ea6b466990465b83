"""`semantic-edit convert` and `info` on the command line, and the converter in the published pack."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from semantic_edit.headless.commands import cli

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    """command(*arguments) in an empty folder -> (code, text printed, complaint)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main(list(arguments))
        printed, complaint = capsys.readouterr()
        assert "Traceback" not in complaint
        return code, printed, complaint

    return run


def test_convert_and_info(command, tmp_path, forge, make_network):
    (tmp_path / "cars.pkl").write_bytes(forge.dumps(forge.nvlabs_snapshot(make_network(), True)))
    code, printed, complaint = command("convert", "cars.pkl", "cars.safetensors")
    assert (code, complaint) == (0, "") and "StyleGAN2 16x16" in printed
    code, printed, _ = command("info", "cars.safetensors")
    assert code == 0 and printed.startswith("cars.safetensors: generator") and 'source: "cars.pkl"' in printed


def test_an_existing_destination_needs_the_flag(command, tmp_path):
    np.save(tmp_path / "smile.npy", np.ones(16, np.float32))
    (tmp_path / "smile.safetensors").write_bytes(b"precious")
    code, printed, complaint = command("convert", "smile.npy", "smile.safetensors")
    assert (code, printed) == (2, "") and "--overwrite" in complaint
    assert (tmp_path / "smile.safetensors").read_bytes() == b"precious"
    assert command("convert", "smile.npy", "smile.safetensors", "--overwrite")[0] == 0


def test_one_of_several_components(command, tmp_path):
    np.savez(tmp_path / "pca.npz", lat_comp=np.arange(1, 4 * 16 + 1, dtype=np.float32).reshape(4, 1, 16))
    code, printed, _ = command("convert", "pca.npz", "second.safetensors", "--component", "1")
    assert code == 0 and "number 1 was taken" in printed


def test_a_hostile_file_is_one_line(command, tmp_path):
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    code, printed, complaint = command("convert", "evil.pkl", "evil.safetensors")
    assert (code, printed) == (2, "") and len(complaint.splitlines()) == 1 and "os.system" in complaint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pkl"]


def ignored() -> list[str]:
    lines = (ROOT / ".comfyignore").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_the_published_pack_converts(tmp_path, forge, make_network):
    """Everything but what .comfyignore names, in another folder: every module of it imports, and a pickle is read."""
    rules = ignored()
    assert len(rules) > 5 and all(rule.startswith("/") for rule in rules)
    pack = tmp_path / "published-pack"
    packages = ["editing", "demo", "headless", "host", "jobs", "kernels", "models", "nodes"]
    for name in packages:
        shutil.copytree(ROOT / name, pack / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    shutil.copy(ROOT / "__init__.py", pack / "__init__.py")
    for rule in rules:
        target = pack / rule.strip("/")
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    (tmp_path / "cars.pkl").write_bytes(forge.dumps(forge.nvlabs_snapshot(make_network(), True)))
    script = (
        "import importlib.util, pkgutil, sys, importlib\n"
        f"spec = importlib.util.spec_from_file_location('published', {str(pack / '__init__.py')!r})\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['published'] = module\n"
        "module.__path__ = spec.submodule_search_locations; spec.loader.exec_module(module)\n"
        "importlib.import_module('published.headless').use_headless()\n"
        "for found in pkgutil.walk_packages(module.__path__, 'published.'):\n"
        "    # Triton's code is loaded where there is a GPU and Triton, and by nothing else.\n"
        "    if not found.name.endswith(('__main__', 'triton_code', 'comfyui_diffusion', 'comfyui_checkpoint')):\n"
        "        importlib.import_module(found.name)\n"
        "cli = importlib.import_module('published.headless.commands.cli')\n"
        "code = cli.main(['convert', 'cars.pkl', 'cars.safetensors'])\n"
        "sys.exit(1 if 'semantic_edit' in sys.modules else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "StyleGAN2 16x16" in done.stdout and (tmp_path / "cars.safetensors").is_file()


def test_only_the_command_line_and_one_node_know_the_converter():
    """What reads pickles is called where a person asked for it, and nowhere else."""
    users = [
        path.relative_to(ROOT).as_posix()
        for folder in ("editing", "demo", "headless", "host", "jobs", "kernels", "models", "nodes")
        for path in (ROOT / folder).rglob("*.py")
        if "models/convert" not in path.relative_to(ROOT).as_posix() and "convert import" in path.read_text()
    ]
    assert users == ["headless/commands/cli.py", "nodes/generator/convert_checkpoint.py"]
