"""Convert Checkpoint: only what lies in the pack's folders, written beside it, nothing replaced, nothing executed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from semantic_edit.models import CheckpointError, InputError
from semantic_edit.models.checkpoint import FOREIGN_SUFFIXES, read_metadata
from semantic_edit.models.files.direction import read_direction
from semantic_edit.models.gan.generator import save_generator
from semantic_edit.nodes.generator.convert_checkpoint import ConvertCheckpoint
from semantic_edit.nodes.generator.load_generator import YOUR_OWN, LoadGenerator


@pytest.fixture
def folder(headless_host):
    """folder(kind) -> that kind's folder below models, made."""

    def make(kind):
        path = headless_host.settings.models / "semantic_edit" / kind
        path.mkdir(parents=True, exist_ok=True)
        return path

    return make


def choices(node):
    return node.define_schema().inputs[0].options


def save_direction_of_torch(path, generator):
    """Write a direction as e4e publishes them: a tensor in torch's own zip."""
    torch.save(torch.linspace(-1, 1, generator.w_dim)[None], path)


def test_a_file_is_listed_converted_and_then_listed_by_its_loader(run_node, folder, tiny_generator, headless_host):
    save_direction_of_torch(folder("directions") / "age.pt", tiny_generator)
    assert choices(ConvertCheckpoint) == ["directions/age.pt"]
    (written, report), shown = run_node("ConvertCheckpoint", file="directions/age.pt")
    assert written == "age.safetensors" and "age.safetensors" in headless_host.list_models("directions")
    assert "Nothing in the source was executed" in report and "among the directions" in report
    assert shown == {"text": [report]}
    assert torch.equal(read_direction(folder("directions") / written)["direction"][0], torch.linspace(-1, 1, 16))


@pytest.mark.parametrize("suffix", FOREIGN_SUFFIXES)
def test_whatever_a_loader_sends_here_is_listed(folder, suffix):
    """A loader's refusal names this node: so the node offers the very endings that are refused."""
    path = folder("generators") / f"mine{suffix.upper()}"
    path.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="Convert Checkpoint"):
        read_metadata(path)
    assert choices(ConvertCheckpoint) == [f"generators/{path.name}"]


def test_a_numbered_direction_has_its_number_in_its_name(run_node, folder):
    components = np.arange(1, 4 * 16 + 1, dtype=np.float32).reshape(4, 1, 16)
    np.savez(folder("directions") / "pca.npz", lat_comp=components)
    (written, report), _ = run_node(
        "ConvertCheckpoint", file="directions/pca.npz", content="numbered direction", number=2
    )
    assert written == "pca-2.safetensors" and "number 2 was taken" in report
    direction = read_direction(folder("directions") / written)["direction"][0]
    torch.testing.assert_close(
        direction / direction.norm(), torch.tensor(components[2, 0] / np.linalg.norm(components[2]))
    )


def test_nothing_is_replaced(run_node, folder, tiny_generator):
    save_direction_of_torch(folder("directions") / "age.pt", tiny_generator)
    (folder("directions") / "age.safetensors").write_bytes(b"precious")
    with pytest.raises(CheckpointError, match="age.safetensors exists already beside age.pt, and nothing is replaced"):
        run_node("ConvertCheckpoint", file="directions/age.pt")
    assert (folder("directions") / "age.safetensors").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "entry", ["directions/../../secret.pt", "/etc/passwd", "generators/age.pt", "directions/.hidden.pt", "age.pt"]
)
def test_what_is_not_in_the_list_is_refused(run_node, folder, tiny_generator, headless_host, entry):
    for name in ("age.pt", ".hidden.pt"):
        save_direction_of_torch(folder("directions") / name, tiny_generator)
    save_direction_of_torch(headless_host.settings.models / "secret.pt", tiny_generator)
    with pytest.raises(InputError, match=r"There is no file .* to convert. Available: directions/age.pt"):
        run_node("ConvertCheckpoint", file=entry)
    assert list(headless_host.settings.models.rglob("*.safetensors")) == []


def test_an_empty_folder_says_where_files_belong(run_node, folder):
    (note,) = choices(ConvertCheckpoint)
    with pytest.raises(InputError, match="There is nothing to convert yet. Put a checkpoint .* into .*generators"):
        run_node("ConvertCheckpoint", file=note)


def test_a_hostile_file_is_refused_and_leaves_nothing(run_node, folder, tmp_path):
    payload = f"cos\nsystem\n(S'touch {tmp_path / 'canary'}'\ntR."
    (folder("generators") / "evil.pkl").write_bytes(payload.encode())
    with pytest.raises(CheckpointError, match="evil.pkl was refused.*os.system"):
        run_node("ConvertCheckpoint", file="generators/evil.pkl")
    assert not (tmp_path / "canary").exists()
    assert [path.name for path in folder("generators").iterdir()] == ["evil.pkl"]


def test_contents_of_another_kind_are_refused(run_node, folder, tiny_generator):
    save_direction_of_torch(folder("directions") / "age.pt", tiny_generator)
    with pytest.raises(InputError, match="Unknown content 'everything'; expected one of automatic"):
        run_node("ConvertCheckpoint", file="directions/age.pt", content="everything")
    with pytest.raises(CheckpointError, match="age.pt holds .*, but no encoder of a known layout"):
        run_node("ConvertCheckpoint", file="directions/age.pt", content="encoder")


def test_load_generator_says_how_to_add_ones_own_until_there_is_one(run_node, folder, tiny_network):
    assert choices(LoadGenerator)[-1] == YOUR_OWN and len(choices(LoadGenerator)) > 1
    with pytest.raises(InputError, match=r"is a note, no file. Put .* into .*generators, run the node Convert Check"):
        run_node("LoadGenerator", file=YOUR_OWN)
    save_generator(folder("generators") / "mine.safetensors", tiny_network, {})
    assert YOUR_OWN not in choices(LoadGenerator) and "mine.safetensors" in choices(LoadGenerator)


def test_codes_of_another_project_are_loaded_for_all_rows(run_node, folder, tiny_generator):
    """Rows that may be either are asked about; codes of W are given to every row."""
    rows, width = tiny_generator.num_layers, tiny_generator.w_dim
    pivot, of_w = torch.randn(1, rows, width), np.random.default_rng(0).normal(size=(50, width))
    torch.save(pivot, folder("latents") / "0.pt")
    np.save(folder("latents") / "w.npy", of_w)
    with pytest.raises(CheckpointError, match="a code of W\\+, or an edit direction"):
        run_node("ConvertCheckpoint", file="latents/0.pt")
    (written, report), _ = run_node("ConvertCheckpoint", file="latents/0.pt", content="latents")
    assert written == "0-latents.safetensors" and "Load Latents" in report
    (latent,), _ = run_node("LoadLatents", file=written, generator=tiny_generator)
    assert torch.equal(latent.codes, pivot)
    (written, _), _ = run_node("ConvertCheckpoint", file="latents/w.npy")
    (latent,), _ = run_node("LoadLatents", file=written, generator=tiny_generator)
    expected = torch.from_numpy(of_w).float()[:, None].expand(-1, rows, -1)
    assert torch.equal(latent.codes, expected) and tiny_generator.synthesize(latent.codes[:1]).isfinite().all()
    np.save(folder("latents") / "wide.npy", np.ones((50, width + 1)))
    (written, _), _ = run_node("ConvertCheckpoint", file="latents/wide.npy")
    with pytest.raises(InputError, match=f"expects .B, {rows}, {width}"):
        run_node("LoadLatents", file=written, generator=tiny_generator)
