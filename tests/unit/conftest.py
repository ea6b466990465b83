"""Fixtures of the checkpoint tests."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import pytest
from semantic_edit.models.files.partial import is_partial_name


@pytest.fixture(scope="session")
def forge():
    """The module checkpoint_forge.py: files with the structure of other projects' checkpoints."""
    path = Path(__file__).parent / "checkpoint_forge.py"
    spec = importlib.util.spec_from_file_location("checkpoint_forge", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["checkpoint_forge"] = module  # dataclasses look their module up while it is being made
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def convert(tmp_path):
    """convert(bytes or object saved by torch, name) -> (the .safetensors written, what was said)."""
    import torch
    from semantic_edit.models.convert import convert_file

    def run(content, name="source.pt", **options):
        source = tmp_path / name
        source.write_bytes(content) if isinstance(content, bytes) else torch.save(content, source)
        said: list[str] = []
        return convert_file(source, tmp_path / "out.safetensors", said.append, **options), " ".join(said)

    return run


@pytest.fixture(scope="session")
def make_network():
    """make_network(**config fields) -> a small StyleGAN2 in which nothing is zero."""
    import torch
    from semantic_edit.models import StyleGAN2, StyleGAN2Config

    def make(**fields):
        defaults = {"z_dim": 12, "w_dim": 16, "channels": (10, 8, 6), "mapping_layers": 2, "lr_multiplier": 0.02}
        network = StyleGAN2(StyleGAN2Config(**{**defaults, **fields}), generator=torch.Generator().manual_seed(3))
        rng = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
                if name.endswith(("bias", "noise_strength", "w_avg")):
                    tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.3)
        return network.requires_grad_(False).eval()

    return make


# What no reader of a checkpoint may do, whoever does it.
WATCHED = (
    "exec", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect",
    "shutil.rmtree", "os.remove", "webbrowser.open", "code.__new__", "ctypes.dlopen",
)  # fmt: skip
_seen: list[str] | None = None


def _watch(event: str, arguments: tuple) -> None:
    if _seen is None or event not in WATCHED:
        return
    if event == "os.remove" and is_partial_name(Path(arguments[0]).name):  # what our writer wrote to
        return
    # A module that is imported late is executed too, from its file; code of a payload comes from nowhere.
    if not (event == "exec" and Path(getattr(arguments[0], "co_filename", "")).is_file()):
        _seen.append(f"{event} {arguments}")


sys.addaudithook(_watch)  # cannot be removed again; it does nothing while nobody watches


@pytest.fixture(scope="session")
def watched():
    """watched(function) -> (what it gave or raised, the watched events that happened meanwhile)."""

    def run(function):
        global _seen
        _seen = []
        try:
            outcome = function()
        except Exception as problem:
            outcome = problem
        finally:
            events, _seen = _seen, None
        return outcome, events

    return run


@pytest.fixture
def canary(tmp_path):
    """A file that hostile payloads would write."""
    return tmp_path / "canary"


@pytest.fixture
def refuses(tmp_path, canary, watched):
    """refuses(bytes, *words, name=, seconds=): converts a file and checks all that a refusal promises.

    A sentence with the words in it, within so many seconds of work; nothing executed, nothing said, nothing written.
    """
    from semantic_edit.models import CheckpointError
    from semantic_edit.models.convert import convert_file

    folder = tmp_path / "work"
    folder.mkdir()

    def check(content: bytes, *words: str, name: str = "model.pkl", seconds: float = 10.0) -> str:
        for old in folder.iterdir():
            old.unlink()
        (folder / name).write_bytes(content)
        said: list[str] = []
        started = time.process_time()
        problem, events = watched(lambda: convert_file(folder / name, folder / "out.safetensors", said.append))
        assert time.process_time() - started < seconds
        assert isinstance(problem, CheckpointError), problem
        assert events == [] and said == []
        assert [path.name for path in folder.iterdir()] == [name]
        assert not canary.exists()
        message = str(problem)
        assert message.startswith(f"{name} ") and message.endswith("Nothing was written.") and "\n" not in message
        assert "Traceback" not in message and len(message) < 700
        for word in words:
            assert word in message, message
        return message

    return check
