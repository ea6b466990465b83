"""The command line: what it prints, what it returns, and that a mistake is never a traceback."""

import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from PIL import Image
from semantic_edit.headless import use_headless
from semantic_edit.headless.commands import cli

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 6, "height": 4, "batch_size": 1, "color": 255}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}, "_meta": {"title": "Turn. round"}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "pic"}},
    "4": {"class_type": "PreviewAny", "inputs": {"source": ["5", 0]}, "_meta": {"title": "Number"}},
    "5": {"class_type": "PrimitiveFloat", "inputs": {"value": 0.5}},
    "6": {"class_type": "PreviewAny", "inputs": {"source": ["7", 0]}},
    "7": {"class_type": "PrimitiveBoolean", "inputs": {"value": False}},
}


@pytest.fixture(autouse=True)
def restored():
    yield
    use_headless()
    logging.getLogger().handlers[:] = [h for h in logging.getLogger().handlers if type(h) is not logging.StreamHandler]


@pytest.fixture
def command(tmp_path, capsys):
    """Run the command in an empty folder: command(*arguments) -> (code, lines printed, lines of complaint)."""
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out.splitlines(), err.splitlines()

    return run


def run_graph(command, tmp_path, *arguments):
    return command("run", tmp_path / "graph.json", "--output", tmp_path / "out", "--device", "cpu", *arguments)


def test_a_run_names_its_files_and_texts(command, tmp_path):
    code, out, err = run_graph(command, tmp_path)
    assert (code, err) == (0, [])
    assert out == [str(tmp_path / "out" / "pic_00001_.png"), "Number (#4): 0.5", "PreviewAny (#6): False"]
    with Image.open(tmp_path / "out" / "pic_00001_.png") as picture:
        assert picture.size == (6, 4) and picture.getpixel((0, 0)) == (255, 255, 0)


def test_values_are_set_by_id_title_and_type(command, tmp_path):
    settings = [
        "1.width=3",
        "EmptyImage.color=0x00ff00",
        "5.value=2",
        "PrimitiveBoolean.value=yes",
        "3.filename_prefix=a=b.c",
    ]
    code, out, _ = run_graph(command, tmp_path, *(argument for setting in settings for argument in ("--set", setting)))
    assert code == 0
    assert out == [str(tmp_path / "out" / "a=b.c_00001_.png"), "Number (#4): 2.0", "PreviewAny (#6): True"]
    with Image.open(tmp_path / "out" / "a=b.c_00001_.png") as picture:
        assert picture.size == (3, 4) and picture.getpixel((0, 0)) == (255, 0, 255)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("nothing", "expected NODE.INPUT=VALUE"),
        ("1.width", "expected NODE.INPUT=VALUE"),
        ("=3", "expected NODE.INPUT=VALUE"),
        ("99.width=3", "there is no node '99'; there are EmptyImage (#1), Turn. round (#2)"),
        ("PreviewAny.source=3", "2 nodes are called 'PreviewAny'; name one by its id: 4, 6"),
        ("1.depth=3", "EmptyImage (#1) has no value 'depth' to set; it has width, height, batch_size, color"),
        ("Turn. round.image=3", "Turn. round (#2) has no value 'image' to set; it has none"),
        ("1.width=wide", "expected a whole number"),
        ("1.width=1.5", "expected a whole number"),
        ("5.value=much", "expected a number"),
        ("7.value=maybe", "expected true or false"),
        ("1.width=0", "'width' is 0, but must be at least 1"),
    ],
)
def test_a_wrong_setting_is_a_sentence_and_nothing_runs(command, tmp_path, setting, words):
    code, out, err = run_graph(command, tmp_path, "--set", setting)
    assert (code, out) == (2, []) and len(err) == 1 and words in err[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "cuda:99"], "is not available"),
        (["--input", "nowhere"], "The input folder nowhere does not exist"),
        (["--models", "nowhere"], "The models folder nowhere does not exist"),
        (["--server", "localhost:8188"], "expected an address such as http://127.0.0.1:8188"),
        (["--server", "http://127.0.0.1:1"], "No ComfyUI answers at http://127.0.0.1:1"),
        (["--server", "file:///etc"], "expected an address"),
    ],
)
def test_a_wrong_option_is_a_sentence(command, tmp_path, arguments, words):
    code, out, err = run_graph(command, tmp_path, *arguments)
    assert (code, out) == (2, []) and len(err) == 1 and words in err[0]


def test_a_file_that_is_no_workflow_is_a_sentence(command, tmp_path):
    code, _, err = command("run", tmp_path / "none.json")
    assert code == 2 and err == [
        f"There is no workflow file {tmp_path / 'none.json'}: give the path of a .json saved by ComfyUI."
    ]


def test_every_mistake_of_a_workflow_has_its_line(command, tmp_path):
    broken = {
        **GRAPH,
        "1": {"class_type": "EmptyImage", "inputs": {"width": 0, "height": 0, "batch_size": 1, "color": 0}},
    }
    (tmp_path / "graph.json").write_text(json.dumps(broken))
    code, _, err = run_graph(command, tmp_path)
    assert code == 2 and len(err) == 2


def test_a_saved_picture_runs_again_as_a_workflow(command, tmp_path):
    run_graph(command, tmp_path)
    code, out, _ = command("run", tmp_path / "out" / "pic_00001_.png", "--output", tmp_path / "again")
    assert code == 0 and out[0] == str(tmp_path / "again" / "pic_00001_.png")


def test_a_mistake_of_ours_is_one_line_unless_asked_for(tmp_path, capsys, monkeypatch):
    def fail(self, prompt, before=None):
        raise KeyError("oh\nno")

    from semantic_edit.headless.run.runner import Runner

    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    monkeypatch.setattr(Runner, "run", fail)
    assert cli.main(["run", str(tmp_path / "graph.json")]) == 2
    assert capsys.readouterr().err == "KeyError: 'oh\\nno' (--verbose shows where)\n"


def test_what_the_registry_leaves_out_is_explained(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "semantic_edit.offline.server", None)
    monkeypatch.chdir(tmp_path)
    code, _, err = command("run", "graph.json", "--server", "http://x")
    assert code == 2 and len(err) == 1 and "install the project from its repository" in err[0]


@pytest.mark.parametrize("arguments", [["convert", "none.pkl", "x.safetensors"], ["info", "none.safetensors"]])
def test_files_that_are_not_there_are_a_sentence(command, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*arguments)
    assert (code, out) == (2, []) and len(err) == 1 and "none." in err[0]
    assert not (tmp_path / "x.safetensors").exists()


def test_stopping_is_no_error(tmp_path, capsys, monkeypatch):
    from semantic_edit.headless.run.runner import Runner

    def stop(self, prompt, before=None):
        raise KeyboardInterrupt

    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    monkeypatch.setattr(Runner, "run", stop)
    assert cli.main(["run", str(tmp_path / "graph.json")]) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_nodes_are_listed_with_what_they_do(command):
    code, out, _ = command("nodes")
    assert code == 0
    named = [line.split()[0] for line in out]
    assert {"LoadImage", "SaveImage", "SemanticEditLoadGenerator"} <= set(named)
    assert named.index("SemanticEditLoadGenerator") < named.index("LoadImage")  # ours first


def test_unknown_commands_show_the_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["fly"])
    assert caught.value.code == 2 and "usage: semantic-edit" in capsys.readouterr().err


class Strange(BaseHTTPRequestHandler):
    """A server that is no ComfyUI: it answers everything with what the test says."""

    answers = {}

    def do_GET(self):
        code, body = self.answers.get(self.path, (404, b"not here"))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  (the base class' name)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def strange():
    server = HTTPServer(("127.0.0.1", 0), Strange)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    Strange.answers = {}


INFO = json.dumps({"EmptyImage": {"input": {}}, "PreviewAny": {"input": {}}}).encode()
HISTORY = {"1": {"outputs": {"9": {"images": [{"filename": "../../evil.png", "subfolder": "", "type": "output"}]}}}}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({}, "answered 404 to /object_info"),
        ({"/object_info": (200, b"<html>")}, "is not a ComfyUI server"),
        ({"/object_info": (200, INFO), "/prompt": (500, b"oops")}, "does not say why"),
        ({"/object_info": (200, INFO), "/prompt": (200, b'{"prompt_id": "1"}')}, "answered 404 to /history/1"),
        (
            {
                "/object_info": (200, INFO),
                "/prompt": (200, b'{"prompt_id": "1"}'),
                "/history/1": (200, b"{}"),
                "/queue": (200, b'{"queue_running": [], "queue_pending": []}'),
            },
            "dropped the work",
        ),
        (
            {
                "/object_info": (200, INFO),
                "/prompt": (200, b'{"prompt_id": "1"}'),
                "/history/1": (200, json.dumps(HISTORY).encode()),
            },
            "names a file outside the output folder",
        ),
    ],
)
def test_a_server_that_answers_nonsense_is_a_sentence(command, tmp_path, strange, answers, words):
    (tmp_path / "graph.json").write_text(json.dumps({"1": {"class_type": "EmptyImage", "inputs": {}}}))
    Strange.answers = answers
    code, out, err = run_graph(command, tmp_path, "--server", strange)
    assert (code, out) == (2, []) and len(err) == 1 and words in err[0]
    assert not (tmp_path / "out").exists()


def test_arguments_that_mean_nothing_are_printed_with_escapes(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["info", "a.safetensors", "b\x1b[2J\udcff.safetensors"])
    error = capsys.readouterr().err
    assert (
        caught.value.code == 2 and r"unrecognized arguments: b\x1b[2J\xff.safetensors" in error and "\x1b" not in error
    )
