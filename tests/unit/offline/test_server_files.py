"""A server and a workflow that mean harm: what leaves this machine, and where what comes back may land."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.models import InputError
from semantic_edit.offline.server import ServerError, run_on_server
from semantic_edit.offline.server_files import picture_to_send, result_prefix, save_result

INFO = {
    "LoadImage": {"input": {"required": {"image": [["x.png"], {"image_upload": True}]}}},
    "SaveImage": {"input": {"required": {"images": ["IMAGE", {}]}}, "output_node": True},
}


class FakeServer(BaseHTTPRequestHandler):
    """Answers as ComfyUI does; `outputs` is what it claims to have made, `uploads` what it got."""

    outputs: dict = {}
    uploads: list = []

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/view":
            return self._answer(b"content of " + parse_qs(url.query)["filename"][0].encode())
        answers = {"/object_info": INFO, "/history/1": {"1": {"outputs": self.outputs}}}
        return self._answer(json.dumps(answers[url.path]).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload/image":
            self.uploads.append(body)
            return self._answer(b'{"name": "sent.png", "subfolder": "semantic_edit"}')
        return self._answer(b'{"prompt_id": "1"}')

    def _answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    """A running `FakeServer`: its address and its class."""
    handler = type("Handler", (FakeServer,), {"outputs": {}, "uploads": []})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", handler
    running.shutdown()
    running.server_close()


def run(server, tmp_path, images, image="x.png", folder=None):
    url, handler = server
    handler.outputs = {"9": {"images": images, "text": ["done\x1b[2J"]}}
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": image}}}
    said: list[str] = []
    return run_on_server(url, graph, [], folder, tmp_path / "out", said.append), said


def image(name, subfolder="", kind="output"):
    return {"filename": name, "subfolder": subfolder, "type": kind}


def test_results_get_numbers_of_our_own_and_replace_nothing(server, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pic_00007_.png").write_bytes(b"mine")
    (tmp_path / "out" / "film.webp").write_bytes(b"mine")
    results = [image("pic_00007_.png"), image("pic_00008_.png"), image("film.webp"), image("a_00003_.png", "set/x"),
               image("p_abc_00001_.png", kind="temp")]  # fmt: skip
    for first in (8, 10):
        paths, _ = run(server, tmp_path, results)
        names = [path.relative_to(tmp_path / "out").as_posix() for path in paths]
        k = 1 if first == 8 else 2
        assert names == [f"pic_{first:05}_.png", f"pic_{first + 1:05}_.png", f"film_{k:05}_.webp",
                         f"set/x/a_{k:05}_.png", f"previews/p_abc_{k:05}_.png"]  # fmt: skip
    assert (tmp_path / "out" / "pic_00008_.png").read_bytes() == b"content of pic_00007_.png"
    assert all((tmp_path / "out" / name).read_bytes() == b"mine" for name in ("pic_00007_.png", "film.webp"))


@pytest.mark.parametrize("name", ["evil.safetensors", ".bashrc", "run.sh", "a.py", "x.png.exe", "noending", "x.json"])
def test_what_is_no_picture_or_film_stays_there(server, tmp_path, name):
    paths, said = run(server, tmp_path, [image(name), image("good_00001_.png")])
    assert [path.name for path in paths] == ["good_00001_.png"] and os.listdir(tmp_path / "out") == ["good_00001_.png"]
    assert said[0] == f"Left on the server: {name}, which is neither a picture nor a film."


@pytest.mark.parametrize(
    ("name", "subfolder"),
    [("../../evil.png", ""), ("evil.png", "../.."), ("/tmp/evil.png", ""), ("evil.png", "/tmp"), (".hidden.png", ""),
     ("evil.png", ".config/autostart"), ("a\\..\\..\\evil.png", ""), ("C:\\evil.png", ""), ("~/evil.png", ""),
     ("e\0vil.png", ""), ("e\nvil\x1b[2J.png", ""), ("x" * 300 + ".png", "")],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_or_hides_is_refused(server, tmp_path, name, subfolder):
    with pytest.raises(
        ServerError, match="names a file outside the output folder, or one that cannot be kept"
    ) as caught:
        run(server, tmp_path, [image(name, subfolder)])
    assert str(caught.value).isprintable() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("entry", [{}, {"filename": 5}, "x.png", None, ["x.png"]])
def test_a_result_without_a_name_is_a_sentence(server, tmp_path, entry):
    with pytest.raises(ServerError, match="names a result without a file name"):
        run(server, tmp_path, [entry])


def test_a_linked_folder_below_the_output_is_not_left_through(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "out" / "set")
    with pytest.raises(InputError, match="is a link that leads out of the output folder"):
        save_result(b"x", *result_prefix("set", "a_00001_.png"), tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "input"
    for name in (".ssh/id_rsa", ".secret.png", ".hidden/a.png", "notes.txt", "id_rsa", "set/good.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"secret")
    (tmp_path / "outside.png").write_bytes(b"secret")
    Image.new("RGB", (4, 4)).save(folder / "good.png")
    os.symlink(folder / ".ssh" / "id_rsa", folder / "link.png")
    os.symlink(tmp_path / "outside.png", folder / "out.png")
    return folder


@pytest.mark.parametrize("name", [".ssh/id_rsa", ".secret.png", ".hidden/a.png", "notes.txt", "id_rsa", "link.png",
                                  "./.ssh/id_rsa", ".ssh\\id_rsa", "set/../.ssh/id_rsa"])  # fmt: skip
def test_only_visible_pictures_leave_the_input_folder(server, tmp_path, folder, name):
    with pytest.raises(WorkflowError, match="hidden or no picture, and only pictures are sent"):
        run(server, tmp_path, [], name, folder)
    assert server[1].uploads == []


@pytest.mark.parametrize("name", ["out.png", "../outside.png", "gone.png", "x\0.png", "y" * 5000 + ".png"])
def test_what_is_not_in_the_input_folder_is_left_to_the_server(folder, name):
    assert picture_to_send(folder, name) is None


def test_a_picture_is_sent_under_a_name_that_cannot_break_the_request(server, tmp_path, folder):
    name = 'a"\r\nX-Evil: 1\r\n\udcff写.png'
    (folder / "good.png").rename(os.path.join(folder, name))
    run(server, tmp_path, [], name, folder)
    head = server[1].uploads[0].split(b"\x89PNG")[0].decode()
    assert 'filename="a___X-Evil_ 1___写.png"' in head and "\nX-Evil" not in head
