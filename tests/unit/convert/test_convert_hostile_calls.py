"""Checkpoints that ask for code: each is refused by name, and nothing runs.

Proved three ways: a canary file that the payloads would write, an audit hook that sees every exec, system and the like
whoever makes it, and the same payloads in Python's own pickle reader, where they do run.
"""

from __future__ import annotations

import builtins
import io
import os
import pickle

import pytest
from semantic_edit.models.convert import convert_file


class Payload:
    """An object whose pickle asks for a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


LIVE = {
    "os.system": lambda path: Payload(os.system, f"touch '{path}'"),
    "builtins.eval": lambda path: Payload(builtins.eval, f"open({str(path)!r}, 'w').close()"),
    "builtins.exec": lambda path: Payload(builtins.exec, f"open({str(path)!r}, 'w').close()"),
    "io.open": lambda path: Payload(io.open, str(path), "w"),
    "os.mkdir": lambda path: Payload(os.mkdir, str(path)),
    "builtins.getattr": lambda path: Payload(Payload(getattr, os, "system"), f"touch '{path}'"),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["os.system", "builtins.eval", "builtins.exec", "io.open", "os.mkdir"])
def test_code_that_python_itself_would_run(refuses, canary, kind, protocol):
    content = pickle.dumps({"G_ema": LIVE[kind](canary)}, protocol)
    refuses(content, "refused", kind.split(".")[1])
    refuses(content, name="innocent.npy")
    pickle.loads(content)
    assert canary.exists(), "the payload is no payload"


CALLS = [
    ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("subprocess", "check_output"),
    ("builtins", "getattr"), ("builtins", "__import__"), ("builtins", "compile"), ("builtins", "open"),
    ("builtins", "setattr"), ("builtins", "globals"), ("__builtin__", "eval"), ("__builtin__", "apply"),
    ("importlib", "import_module"), ("runpy", "run_path"), ("operator", "attrgetter"), ("functools", "partial"),
    ("types", "FunctionType"), ("types", "CodeType"), ("marshal", "loads"), ("pickle", "loads"), ("_pickle", "loads"),
    ("ctypes", "CDLL"), ("socket", "create_connection"), ("webbrowser", "open"), ("shutil", "rmtree"),
    ("copyreg", "add_extension"), ("codecs", "decode"), ("logging.config", "_resolve"), ("timeit", "timeit"),
    ("code", "InteractiveInterpreter"), ("multiprocessing.util", "spawnv_passfds"), ("pydoc", "locate"),
    ("torch", "load"), ("torch.hub", "load"), ("torch.jit", "load"), ("torch.serialization", "load"),
    ("torch.utils.cpp_extension", "load"), ("torch._utils", "_import_dotted_name"), ("torch", "FloatStorage"),
    ("torch.storage", "TypedStorage"), ("torch._utils", "_rebuild_wrapper_subclass"),
    ("torch.fx.graph_module", "reduce_graph_module"), ("numpy", "load"), ("numpy", "fromfile"),
    ("numpy.core.multiarray", "fromfile"), ("numpy.testing._private.utils", "runstring"),
    ("numpy.random._pickle", "__randomstate_ctor"), ("numpy.f2py", "compile"),
    ("pip", "main"), ("setuptools.sandbox", "run_setup"), ("cffi", "FFI"), ("model", "Generator"),
    ("torch.nn.modules.linear", "Linear"), ("torch.nn.functional", "relu"), ("dnnlib.util", "call_func_by_name"),
    ("torch_utils.persistence", "_src_to_module"),
]  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(("module", "name"), CALLS, ids=lambda part: part)
def test_calls_that_no_checkpoint_needs(forge, refuses, module, name, protocol):
    call = forge.Call(forge.Global(module, name), ("touch canary",))
    message = refuses(forge.dumps({"G_ema": call}, protocol), "refused")
    assert f".{name}" in message


DOTTED = [
    ("os", "path.join"), ("torch", "serialization.os.system"), ("torch.storage", "_load_from_bytes.__globals__"),
    ("collections", "OrderedDict.fromkeys"), ("collections.OrderedDict", "__reduce__"), ("model", "Generator.__init__"),
    ("model", "Generator.__init__.__globals__"), ("", "eval"), ("builtins", ""), ("model", "a b"), ("model;os", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), DOTTED, ids=lambda part: part or "empty")
@pytest.mark.parametrize("used", ["called", "made", "mentioned"])
def test_names_that_reach_through_other_names(forge, refuses, module, name, used):
    target = forge.Global(module, name)
    value = {"called": forge.Call(target, ()), "made": forge.New(target), "mentioned": target}[used]
    refuses(forge.dumps({"G_ema": value}, 4), "refused")


def test_every_refused_name_is_reported(forge, refuses):
    calls = [forge.Call(forge.Global("os", name), ()) for name in ("system", "popen", "remove")]
    refuses(forge.dumps(calls), "os.system, os.popen, os.remove")
    many = [forge.Call(forge.Global("os", f"name{k}"), ()) for k in range(40)]
    refuses(forge.dumps(many), "os.name7 and more")


def test_names_cannot_write_on_the_terminal(forge, refuses):
    """Escape sequences and line breaks in a name reach the message as escapes that can be read."""
    message = refuses(
        forge.dumps(forge.Call(forge.Global("os", "\x1b[2Jsys\ntem\x9b0m"), ()), 4), r"os.\x1b[2Jsys\ntem\x9b0m"
    )
    assert message.isprintable()


def test_a_refused_name_is_reported_even_when_the_file_is_cut(forge, refuses):
    content = forge.dumps([forge.Call(forge.Global("os", "system"), ("x",)), "y" * 100])
    refuses(content[:-50], "os.system")


def test_calling_what_a_call_gave(forge, refuses):
    dictionary = forge.Call(forge.Global("collections", "OrderedDict"), ())
    for inner in (dictionary, forge.New(forge.Global("model", "Net")), "text", 5, [1]):
        refuses(forge.dumps(forge.Call(inner, ("touch canary",))), "refused, because it calls a")


def test_the_source_code_inside_nvlabs_modules_is_not_run(forge, canary, watched, tmp_path, make_network):
    """The file is good, only its source is hostile: it converts, and the source stays text."""
    snapshot = forge.nvlabs_snapshot(make_network(), True)
    snapshot["G_ema"].arguments[0]["module_src"] = f"open({str(canary)!r}, 'w').close()"
    (tmp_path / "network.pkl").write_bytes(forge.dumps(snapshot))
    target = tmp_path / "out.safetensors"
    outcome, events = watched(lambda: convert_file(tmp_path / "network.pkl", target, lambda text: None))
    assert outcome == target and events == [] and not canary.exists()


# Torch files inside pickles, and persistent ids.


def nested(forge, inner: bytes) -> bytes:
    return forge.dumps({"G_ema": forge.Call(forge.Global("torch.storage", "_load_from_bytes"), (inner,))}, 4)


def test_a_hostile_pickle_inside_a_nested_torch_file(forge, refuses, canary):
    hostile = forge.dumps(forge.Call(forge.Global("os", "system"), (f"touch {canary}",)))
    for inner in (forge.old_torch_file(hostile), forge.torch_archive(hostile, {}), hostile):
        refuses(nested(forge, inner), "os.system")
    refuses(forge.old_torch_file(hostile), "os.system")
    refuses(forge.torch_archive(hostile, {}), "os.system", name="model.pt")


def test_torch_files_nested_twice(forge, refuses):
    innermost = forge.old_torch_file(forge.dumps([1]))
    twice = forge.old_torch_file(nested(forge, innermost))
    refuses(nested(forge, twice), "nests torch files")


def test_wrong_numbers_at_the_start_of_a_torch_file(forge, refuses):
    content = forge.dumps([1])
    refuses(nested(forge, forge.old_torch_file(content, magic=7)), "wrong first number")
    refuses(nested(forge, forge.old_torch_file(content, protocol=99)), "unknown version")
    refuses(forge.old_torch_file(content, protocol=99), "unknown version")
    refuses(nested(forge, b""), "truncated")


PIDS = [
    "os.system", ("storage",), ("module", "x", "y", "z"), ("storage", "torch.FloatStorage", "0", "cpu", 4), 5, None,
    ("storage", None, "../../etc/passwd", "cpu", 4),
]  # fmt: skip


@pytest.mark.parametrize("pid", PIDS, ids=str)
def test_persistent_ids(forge, refuses, pid):
    refuses(forge.dumps({"G_ema": forge.Persistent(pid)}), "persistent id")
    refuses(forge.torch_archive({"G_ema": forge.Persistent(pid)}, {}), name="model.pt")


def test_a_persistent_id_given_as_text(refuses):
    refuses(b"\x80\x02Pos.system\n.", "PERSID")


def test_storage_keys_are_names_in_the_archive_and_nothing_else(forge, refuses):
    for key in ("../../../etc/passwd", "/etc/passwd", "0\x00", "", "data.pkl"):
        content = forge.torch_archive({"w": forge.stored_tensor(key, 16, (16,), (1,))}, {})
        refuses(content, "lacks", name="model.pt")
