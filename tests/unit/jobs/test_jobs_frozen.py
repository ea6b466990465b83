"""A frozen job: what it holds comes back, another checkpoint is named, and damaged files are sentences."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from semantic_edit.headless.commands.cli import main
from semantic_edit.jobs.frozen import read_frozen, thaw, write_frozen
from semantic_edit.jobs.settings import describe_transfer
from semantic_edit.models import CheckpointError, InputError
from semantic_edit.models.checkpoint import read_safetensors, write_safetensors

DEMO = Path(__file__).resolve().parents[3] / "models" / "demo"
PHOTOS = DEMO.parents[1] / "demo" / "photos"


@pytest.mark.parametrize("kind", ["plain", "number", "reference", "measured"])
def test_a_job_comes_back_from_its_file_and_edits_alike(small_edit, kind, tmp_path):
    code = small_edit.generator.map(
        torch.randn(1, small_edit.generator.z_dim, generator=torch.Generator().manual_seed(3))
    )
    options = {
        "plain": {"strength": 0.8, "limit": 2.5},
        "number": {"mode": "number", "target": 1.25},
        "reference": {"reference": code},
        "measured": {"corrections": 1},
    }[kind]
    transfer = small_edit.transfer(**options)
    path = write_frozen(
        tmp_path / "job.safetensors", small_edit.frozen(transfer, fit="pad", background=(1, 2, 3), keep_codes=True)
    )
    assert path.stat().st_size < 200_000
    job = read_frozen(path)
    assert (job.source, job.fit, job.background, job.keep_codes) == ("photos", "pad", (1, 2, 3), True)
    again = thaw(job)
    assert describe_transfer(again) == json.loads(json.dumps(describe_transfer(transfer))) == job.settings
    pictures = small_edit.generator.synthesize(code).clamp(-1, 1)
    before, after = transfer(pictures), again(pictures)
    assert torch.equal(before.images, after.images) and torch.equal(before.strength.alpha, after.strength.alpha)
    assert write_frozen(tmp_path / "again.safetensors", job).read_bytes() == path.read_bytes()


def test_another_checkpoint_is_named_and_a_missing_one_too(small_edit, tmp_path):
    job = small_edit.frozen()
    tensors, metadata = read_safetensors(job.encoder)
    tensors["shared.bias"] = tensors["shared.bias"] + 1e-3
    other = tmp_path / "other.safetensors"
    write_safetensors(other, tensors, "encoder", json.loads(metadata["config"]), family=metadata["family"])
    with pytest.raises(InputError, match=r"encoder: \[.*\] then, \[.*\] now.*checkpoints"):
        thaw(replace(job, encoder=str(other)))
    with pytest.raises(CheckpointError, match=r"gone\.safetensors does not exist"):
        thaw(replace(job, generator=str(tmp_path / "gone.safetensors")))
    with pytest.raises(InputError, match="neither a file 'nobody' nor a shipped one among the encoders"):
        thaw(replace(job, encoder="nobody"))


def test_damaged_and_newer_jobs_are_sentences(small_edit, tmp_path):
    path = write_frozen(tmp_path / "job.safetensors", small_edit.frozen())
    tensors, metadata = read_safetensors(path)
    config = json.loads(metadata["config"])

    def refused(words, remove=(), **changes):
        kept = {name: tensor for name, tensor in tensors.items() if name not in remove}
        write_safetensors(tmp_path / "x.safetensors", kept, "job", {**config, **changes}, family=metadata["family"])
        with pytest.raises(InputError, match=words):
            read_frozen(tmp_path / "x.safetensors")

    refused("version 2; this version runs version 1", version=2)
    refused("damaged job", reader={"way": "face"})
    refused("damaged job.*settings", settings=[])
    refused("damaged job.*direction", remove=("direction",))
    refused("damaged job", pictures={"source": 3, "fit": "crop", "background": [0, 0, 0], "codes": False})
    refused("damaged job", target={**config["target"], "strength": "much"})
    refused("damaged job", checkpoints={"generator": "x"})
    refused("damaged job", edit={**config["edit"], "layers": "all"})
    with pytest.raises(CheckpointError, match="is not a 'job' file"):
        read_frozen(DEMO / "directions" / "smile.safetensors")


def test_the_command_plans_a_job_and_runs_it_like_the_folder(tmp_path, capsys):
    job = tmp_path / "smiles.safetensors"
    assert main(["plan", str(PHOTOS), "--direction", "smile", "--limit", "2", "--output", str(job)]) == 0
    assert "smile for" in capsys.readouterr().out
    assert main(["batch", str(job), "--device", "cpu"]) == 0
    plain = ["batch", str(PHOTOS), "--direction", "smile", "--limit", "2", "--output", str(tmp_path / "plain")]
    assert main([*plain, "--device", "cpu"]) == 0
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "plain").glob("*.png")}
    assert len(pictures) == 16
    assert {path.name: path.read_bytes() for path in (tmp_path / "smiles").glob("*.png")} == pictures
    assert (tmp_path / "smiles" / "job.json").read_bytes() == (tmp_path / "plain" / "job.json").read_bytes()
    capsys.readouterr()
    assert main(["batch", str(job), "--strength", "2"]) == 2
    assert "--strength is frozen in the job" in capsys.readouterr().err
    assert main(["info", str(job)]) == 0
    assert "smiles.safetensors: job" in capsys.readouterr().out
    assert main(["batch", str(PHOTOS), "--output", str(tmp_path / "x")]) == 2
    assert "--direction is missing" in capsys.readouterr().err
    assert main(["batch", str(PHOTOS), "--direction", "smile"]) == 2
    assert "--output is missing" in capsys.readouterr().err
    assert main(["batch", str(PHOTOS), "--direction", "smile", "--output", str(tmp_path / "x"), "--workers", "2"]) == 2
    assert "--workers needs --engine ray" in capsys.readouterr().err


def test_mutated_jobs_are_sentences_or_the_same_job(small_edit, tmp_path):
    """Bytes changed, cut and repeated anywhere: whatever is read and thawed has the settings that it says."""
    content = write_frozen(tmp_path / "job.safetensors", small_edit.frozen()).read_bytes()
    chance, refused = random.Random(3), 0
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(300):
        mutated = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(header if chance.random() < 0.8 else len(mutated))
            kind = chance.randrange(3)
            if kind == 0:
                mutated[at] = chance.randrange(256)
            elif kind == 1:
                del mutated[at : at + chance.randint(1, 9)]
            else:
                mutated[at:at] = mutated[at : at + chance.randint(1, 9)]
        path = tmp_path / "mutated.safetensors"
        path.write_bytes(mutated)
        try:
            thaw(read_frozen(path))
        except InputError:  # CheckpointError is one
            refused += 1
    assert refused > 200
