"""The headless host answers nodes: folders, names, devices, progress."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from semantic_edit import host
from semantic_edit.headless import HeadlessSettings, StoppedError, use_headless
from semantic_edit.headless.host.progress_bar import Bar
from semantic_edit.models.errors import InputError


def make(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_models_are_found_in_every_folder_and_nothing_else_is(headless_host, tmp_path):
    mine = make(tmp_path / "models" / "semantic_edit" / "directions" / "set" / "smile.safetensors")
    saved = make(tmp_path / "output" / "semantic_edit" / "directions" / "age_00001_.safetensors")
    make(tmp_path / "models" / "semantic_edit" / "directions" / "old.pkl")
    make(tmp_path / "models" / "semantic_edit" / "directions" / ".hidden" / "x.safetensors")
    make(tmp_path / "models" / "semantic_edit" / "generators" / "other.safetensors")
    names = headless_host.list_models("directions")
    assert names == sorted(names) and {str(Path("set/smile.safetensors")), "age_00001_.safetensors"} <= set(names)
    assert not {"old.pkl", "other.safetensors"} & set(names) and not any("hidden" in name for name in names)
    assert headless_host.model_path("directions", str(Path("set/smile.safetensors"))) == mine
    assert headless_host.model_path("directions", "age_00001_.safetensors") == saved


@pytest.mark.parametrize("name", ["gone.safetensors", "../secret.safetensors", "{abs}", "old.pkl", "", ".", "a\0b"])
def test_a_name_that_is_not_listed_is_refused(headless_host, tmp_path, name):
    make(tmp_path / "models" / "semantic_edit" / "directions" / "here.safetensors")
    make(tmp_path / "models" / "semantic_edit" / "directions" / "old.pkl")
    secret = make(tmp_path / "models" / "semantic_edit" / "secret.safetensors")
    with pytest.raises(InputError, match=r"There is no file .* among the directions\. Available: .*here\.safetensors"):
        headless_host.model_path("directions", name.replace("{abs}", str(secret)))


def test_without_files_the_sentence_says_where_to_put_them(headless_host, tmp_path):
    with pytest.raises(InputError, match=r"Available: none yet\. Put \.safetensors files into .*imagic"):
        headless_host.model_path("imagic", "clip.safetensors")


def test_new_files_are_numbered_and_listed(headless_host, tmp_path):
    folder = tmp_path / "output" / "semantic_edit" / "latents"
    first = headless_host.save_path("latents", "faces")
    assert first == folder / "faces_00001_.safetensors" and folder.is_dir() and not first.exists()
    make(first)
    assert headless_host.save_path("latents", "faces").name == "faces_00002_.safetensors"
    assert headless_host.save_path("latents", "set 1/faces", ".png") == folder / "set 1" / "faces_00001_.png"
    assert "faces_00001_.safetensors" in headless_host.list_models("latents")


BAD_NAMES = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "a/../../b",
    "/etc/x",
    "C:\\x",
    "\\\\host\\x",
    ".hidden",
    "a/.b/c",
    "~",
    "a\nb",
    "x?",
    "a\0b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_could_leave_the_folder_are_refused(headless_host, tmp_path, name):
    with pytest.raises(InputError, match="cannot be used"):
        headless_host.save_path("latents", name)
    assert list((tmp_path / "output").rglob("*")) == []


@pytest.mark.parametrize(
    ("name", "safe"), [("smile", "smile"), ("a/b", "a/b"), ("a\\b", "a/b"), (" x ", "x"), ("ä (1)", "ä (1)")]
)
def test_ordinary_names_are_kept(name, safe):
    assert host.safe_name(name) == safe


def test_a_name_that_no_file_system_takes_is_refused():
    assert host.safe_name("ä" * 80) == "ä" * 80
    with pytest.raises(InputError, match="3000 letters long; give a shorter"):
        host.safe_name("ä" * 3000)


def test_input_subfolders_are_listed_without_hidden_ones(headless_host, tmp_path):
    for name in ("b", "a/inner", ".git/x"):
        (tmp_path / "input" / name).mkdir(parents=True)
    make(tmp_path / "input" / "file.png")
    assert headless_host.input_subfolders() == ["a", "a/inner", "b"]


def test_a_missing_input_folder_has_no_subfolders(headless_host, tmp_path):
    headless_host.settings.input = tmp_path / "nowhere"
    assert headless_host.input_subfolders() == []


def test_placing_under_inference_mode_leaves_normal_weights(headless_host):
    network = torch.nn.Linear(2, 2).double()
    with torch.inference_mode():
        headless_host.place(network)
    assert not any(parameter.is_inference() for parameter in network.parameters())


@pytest.mark.parametrize(
    "name", ["cuda:99", "quantum", "mps:0" if not torch.backends.mps.is_available() else "cuda:99"]
)
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(InputError, match="use (--device cpu|'cpu')"):
        use_headless(HeadlessSettings(device=name))


def test_the_bar_shows_the_node_and_is_removed():
    class Screen(io.StringIO):
        def isatty(self):
            return True

    headless = use_headless(HeadlessSettings(device="cpu", bar=Bar(Screen())))
    headless.settings.bar.start("Noise (#1)", 2, 5)
    headless.progress(4, "drawing")(4, 4, torch.zeros(3, 2, 2))
    drawn = headless.settings.bar.stream.getvalue()
    assert "[2/5] Noise (#1) drawing |########################| 4/4" in drawn
    headless.settings.bar.clear()
    assert headless.settings.bar.stream.getvalue().endswith("\r" + " " * len(drawn.split("\r")[-1]) + "\r")
    use_headless()


def test_without_a_terminal_nothing_is_drawn(headless_host):
    headless_host.settings.bar.start("Noise (#1)", 1, 1)
    headless_host.progress(2)(1, 2)
    headless_host.settings.bar.clear()
    assert headless_host.settings.bar.stream.getvalue() == ""


def test_an_interruption_comes_through_progress_and_is_forgotten_on_request(headless_host):
    report = headless_host.progress(2)
    report(1, 2)
    headless_host.interrupt()
    with pytest.raises(StoppedError):
        report(2, 2)
    with pytest.raises(StoppedError):
        headless_host.check_interrupt()
    headless_host.resume()
    headless_host.check_interrupt()


@pytest.mark.parametrize("shape", [(3, 4, 6), (4, 6, 3), (2, 3, 4, 6), (2, 4, 6, 3), (1, 4, 6), (4, 4, 6)])
def test_a_preview_of_either_layout_becomes_a_picture(shape):
    picture = host.preview_picture(torch.full(shape, 2.0))
    assert picture.size == (6, 4) and picture.getpixel((5, 3)) == (255, 255, 255)


def run_python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_importing_the_package_is_cheap_and_needs_no_host():
    program = (
        "import sys, semantic_edit\n"
        "assert 'torch' not in sys.modules\n"
        "assert not hasattr(semantic_edit, 'comfy_entrypoint') and not hasattr(semantic_edit, 'WEB_DIRECTORY')\n"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr


def test_nodes_without_a_host_say_what_to_do():
    done = run_python("import semantic_edit.nodes")
    assert done.returncode == 1 and "call semantic_edit.headless.use_headless()" in done.stderr
