"""HTTP client of a ComfyUI server: run a workflow there, from the command line.

The only network use in the project, and only towards the address that was typed. No node imports this.
"""

from __future__ import annotations

import json
import mimetypes
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..headless.errors import WorkflowError
from ..headless.run.validate import check_wires
from ..headless.workflow.assign import assign
from ..headless.workflow.document import Prompt, to_prompt
from ..headless.workflow.separators import mend_separators
from ..headless.workflow.widgets import UPLOADS, input_specs
from ..models.errors import InputError
from ..models.printable import printable
from .server_files import picture_to_send, result_prefix, save_result

POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 60  # of one request, not of the work


class ServerError(InputError):
    """The server cannot be reached, or refuses."""


def run_on_server(
    url: str, document: dict, assignments: list[str], inputs: Path | None, output: Path, say: Callable[[str], None]
) -> list[Path]:
    """Queue a workflow, wait for it, and fetch its results.

    Args:
        url: the server's address.
        document: the workflow, of either format.
        assignments: as for `assign`.
        inputs: folder whose pictures are uploaded when the workflow names them; None: the server has them already.
        output: folder that the results are written to.
        say: called with what nodes show as text.

    Returns:
        The files written.

    Raises:
        ServerError: no answer, an answer that makes no sense, or work that failed there.
        WorkflowError: a workflow that the server refuses, with its reasons.
    """
    server = Server(url)
    info = server.get("/object_info")
    prompt = to_prompt(document, info)
    assign(prompt, assignments, info)
    check_wires(prompt, list(prompt.nodes))
    mend_separators(prompt, info)
    if inputs is not None:
        server.upload(prompt, info, inputs)
    prompt_id = server.queue(prompt)
    try:
        history = server.wait(prompt_id)
    except KeyboardInterrupt:
        server.cancel(prompt_id)
        raise
    _raise_failure(history, prompt)
    return list(server.fetch(history, prompt, output, say))


class Server:
    """A ComfyUI server and the few requests that a run needs."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ServerError(f"--server {url}: expected an address such as http://127.0.0.1:8188.")
        self.url = url.rstrip("/")

    def get(self, path: str, **query: str) -> Any:
        """Return the JSON that a GET answers."""
        return self._json(self._send(self._request(path, **query)), path)

    def post(self, path: str, body: dict) -> Any:
        """Return the JSON that a POST of JSON answers."""
        request = self._request(path)
        request.add_header("Content-Type", "application/json")
        return self._json(self._send(request, json.dumps(body).encode()), path)

    def upload(self, prompt: Prompt, info: dict[str, dict], folder: Path) -> None:
        """Send the pictures that the prompt loads and `folder` has, and point the prompt at the copies."""
        for node in prompt.nodes.values():
            for name, _, _, options in input_specs(info.get(node["class_type"], {})):
                value = node["inputs"].get(name)
                if any(options.get(upload) for upload in UPLOADS) and isinstance(value, str):
                    path = picture_to_send(folder, value)
                    if path is not None:
                        node["inputs"][name] = self._upload(path)

    def queue(self, prompt: Prompt) -> str:
        """Put a prompt into the queue and return its id."""
        extra = {"extra_pnginfo": {"workflow": prompt.workflow}} if prompt.workflow is not None else {}
        body = {"prompt": prompt.nodes, "client_id": uuid.uuid4().hex, "extra_data": extra}
        try:
            answer = self.post("/prompt", body)
        except _RefusedError as refused:
            raise WorkflowError(*_reasons(refused.body, prompt)) from None
        if answer.get("node_errors"):  # it would run the rest of the workflow without these
            self.cancel(answer["prompt_id"])
            raise WorkflowError(*_reasons(json.dumps(answer).encode(), prompt))
        return answer["prompt_id"]

    def wait(self, prompt_id: str) -> dict:
        """Return the history of a prompt once it is done."""
        while True:
            history = self.get(f"/history/{prompt_id}").get(prompt_id)
            if history is not None:
                return history
            queue = self.get("/queue")
            queued = [entry[1] for name in ("queue_running", "queue_pending") for entry in queue.get(name, ())]
            if prompt_id not in queued and prompt_id not in self.get(f"/history/{prompt_id}"):
                raise ServerError(f"{self.url} dropped the work: it is neither queued nor done.")
            time.sleep(POLL_SECONDS)

    def cancel(self, prompt_id: str) -> None:
        """Take a prompt out of the queue, or stop it if it is the one that runs."""
        running = [entry[1] for entry in self.get("/queue").get("queue_running", ())]
        path = "/interrupt" if prompt_id in running else "/queue"
        body = {"prompt_id": prompt_id} if prompt_id in running else {"delete": [prompt_id]}
        self._send(self._request(path), json.dumps(body).encode())

    def fetch(self, history: dict, prompt: Prompt, output: Path, say: Callable[[str], None]) -> Iterator[Path]:
        """Write the pictures and films of the work below `output`, yield their paths, and say what nodes show as text.

        Files of other kinds stay on the server, with a sentence.
        """
        outputs = history.get("outputs", {})
        for node_id, ui in outputs.items() if isinstance(outputs, dict) else ():
            for image in _listed(ui, "images"):
                path = self._download(image, output, say)
                if path is not None:
                    yield path
            for text in _listed(ui, "text"):
                say(f"{prompt.title(node_id) if node_id in prompt.nodes else node_id}: {text}")

    def _download(self, image: Any, output: Path, say: Callable[[str], None]) -> Path | None:
        if not isinstance(image, dict) or not isinstance(image.get("filename"), str):
            raise ServerError(f"{self.url} names a result without a file name.")
        name, subfolder = image["filename"], str(image.get("subfolder") or "")
        try:
            target = result_prefix(subfolder, name)
        except InputError:
            raise ServerError(
                f"{self.url} names a file outside the output folder, or one that cannot be kept in it: "
                f"{f'{subfolder}/{name}'[:200]!r}."
            ) from None
        if target is None:
            say(f"Left on the server: {printable(name)}, which is neither a picture nor a film.")
            return None
        content = self._send(self._request("/view", **{name: str(value) for name, value in image.items()}))
        return save_result(content, *target, output / "previews" if image.get("type") == "temp" else output)

    def _upload(self, path: Path) -> str:
        boundary = uuid.uuid4().hex
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        name = "".join(letter if letter.isalnum() or letter in " ._-+()" else "_" for letter in path.name)
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="subfolder"\r\n\r\nsemantic_edit\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        )
        request = self._request("/upload/image")
        request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        stored = self._json(self._send(request, body), "/upload/image")
        return f"{stored['subfolder']}/{stored['name']}" if stored.get("subfolder") else stored["name"]

    def _request(self, path: str, **query: str) -> urllib.request.Request:
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        return urllib.request.Request(f"{self.url}{path}{tail}")

    def _send(self, request: urllib.request.Request, body: bytes | None = None) -> bytes:
        try:
            with _opener().open(request, body, timeout=TIMEOUT_SECONDS) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise _RefusedError(f"{self.url} answered {error.code} to {request.selector}.", error.read()) from None
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise ServerError(f"No ComfyUI answers at {self.url} ({reason}): start it, or check the address.") from None

    def _json(self, content: bytes, path: str) -> Any:
        try:
            return json.loads(content)
        except ValueError:
            raise ServerError(f"{self.url} is not a ComfyUI server: {path} does not answer JSON.") from None


def _opener() -> urllib.request.OpenerDirector:
    """Build an opener that speaks HTTP and nothing else: no files, no FTP, and no redirection to another address."""
    opener = urllib.request.OpenerDirector()
    handlers = ("ProxyHandler", "HTTPHandler", "HTTPSHandler", "HTTPErrorProcessor", "HTTPDefaultErrorHandler")
    for name in handlers:
        if hasattr(urllib.request, name):  # HTTPS needs Python's ssl
            opener.add_handler(getattr(urllib.request, name)())
    return opener


def _listed(ui: Any, name: str) -> list:
    """Return a list of what a node showed; an empty one where the server sends something else."""
    values = ui.get(name) if isinstance(ui, dict) else None
    return values if isinstance(values, list) else []


class _RefusedError(ServerError):
    """An HTTP error, with the answer's body."""

    def __init__(self, message: str, body: bytes) -> None:
        super().__init__(message)
        self.body = body


def _reasons(body: bytes, prompt: Prompt) -> list[str]:
    """Read the sentences of a refusal, one for each input that is wrong."""
    try:
        answer = json.loads(body)
        reasons = []
        for node_id, node in answer.get("node_errors", {}).items():
            title = prompt.title(node_id) if node_id in prompt.nodes else f"#{node_id}"
            reasons += [f"{title}: {error['message']} ({error['details']})." for error in node["errors"]]
        error = answer.get("error") or {}
        details = f" ({error['details']})" if error.get("details") else ""
        return reasons or [f"{error['message']}{details}."]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["The server refuses the workflow and does not say why."]


def _raise_failure(history: dict, prompt: Prompt) -> None:
    """Raise ServerError when the history says that the work failed or was stopped."""
    status = history.get("status") or {}
    if status.get("status_str") != "error":
        return
    for name, message in status.get("messages", ()):
        if name == "execution_error":
            node_id = str(message.get("node_id"))
            title = prompt.title(node_id) if node_id in prompt.nodes else message.get("node_type")
            raise ServerError(f"{title}: {' '.join(str(message.get('exception_message')).split())}")
        if name == "execution_interrupted":
            raise ServerError("The work was stopped on the server.")
    raise ServerError("The work failed on the server; its log says why.")
