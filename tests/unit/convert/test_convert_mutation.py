"""Random damage ends in a file that still reads or in one sentence, never in another exception.

benchmarks/mutate_files.py runs the same 10,000 times.
"""

from __future__ import annotations

import importlib.util
import pickletools
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semantic_edit.models import CheckpointError
from semantic_edit.models.convert.containers import open_bytes
from semantic_edit.models.convert.convert import identify

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("mutate_files", ROOT / "benchmarks" / "mutate_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_damaged_files(script, tmp_path):
    outcomes, defects = script.run(200, 1, tmp_path, lambda text: None)
    assert defects == []
    refused = sum(count for (_, outcome), count in outcomes.items() if outcome == "refused")
    assert refused > 100 and sum(outcomes.values()) == 200


def test_the_run_notices_a_defect(script, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise KeyError("a bare exception")

    monkeypatch.setattr(script, "convert_file", broken)
    assert any("KeyError" in defect for defect in script.run(20, 1, tmp_path, lambda text: None)[1])


NAMES = [
    b"os\nsystem\n", b"collections\nOrderedDict\n", b"torch._utils\n_rebuild_tensor_v2\n", b"torch\nFloatStorage\n",
    b"torch.storage\n_load_from_bytes\n", b"numpy.core.multiarray\n_reconstruct\n", b"numpy\ndtype\n", b"model\nNet\n",
    b"torch_utils.persistence\n_reconstruct_persistent_obj\n", b"dnnlib.tflib.network\nNetwork\n", b"builtins\nset\n",
    b"numpy.core.multiarray\nscalar\n", b"_codecs\nencode\n", b"torch._tensor\n_rebuild_from_type_v2\n",
]  # fmt: skip
instruction = st.one_of(
    st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes if op.arg is None and op.code != "."]),
    st.sampled_from([b"c" + name for name in NAMES]),
    st.sampled_from([b"K\x00", b"K\x05", b"U\x02f4", b"U\x07G_ema\x00\x00", b"C\x04abcd", b"h\x00", b"h\x01", b"\x94"]),
    st.sampled_from([b"X\x05\x00\x00\x00G_ema", b"X\x08\x00\x00\x00_modules", b"X\x07\x00\x00\x00storage", b"q\x00"]),
    st.binary(min_size=1, max_size=3),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(instruction, max_size=40))
def test_random_programs(parts):
    """Any sequence of instructions gives plain data or a CheckpointError."""
    try:
        identify(open_bytes(b"\x80\x02" + b"".join(parts) + b"."))
    except CheckpointError as problem:
        assert "\n" not in str(problem)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x80\x04\x95", b"(lp0\n"]))
def test_random_bytes(tail, start):
    try:
        identify(open_bytes(start + tail))
    except CheckpointError as problem:
        assert "\n" not in str(problem)
