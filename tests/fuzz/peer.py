"""A real server as a child process, driven over its streams. It counts and times replies, and measures processes.

It assumes nothing about the server's structure: its processes are all of its children.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

import psutil
from attrs import frozen

from tests.e2e.conftest import ENVIRONMENT, SERVER, completion_params, framed, notification

REPLY_TIMEOUT_S = float(os.environ.get("STARCODER_FUZZ_TIMEOUT_S", "60"))
"""A limit for replies on a busy machine. The soak reports the times."""
INTERNAL_ERROR = -32603
NAP_S = 0.5
"""Between two looks at the clock, which tell a stopped or starved machine from a silent server."""
N_LAST = 50
"""The number of messages, and of lines of standard error, that a failure shows."""
SETTINGS: dict[str, Any] = {
    "debounce": {"mode": "off"},
    "completion": {"maxTokens": 8},
    "context": {"maxTokens": 192},
    "host": {"shared": False},
}
"""Small prompts and short answers, since the model is not under test."""


class FaultError(AssertionError):
    """The server broke a rule. The text says which one, and has the server's last messages."""


@frozen
class Answer:
    """The reply to a request: `message` has `result` or `error`."""

    message: dict[str, Any]
    elapsed_ms: float

    @property
    def result(self) -> Any:
        """The result; `None` for an error."""
        return self.message.get("result")


@frozen
class Footprint:
    """Resources of one process: its memory without shared pages, and its open descriptors."""

    name: str
    unique_bytes: int
    n_descriptors: int


class Peer:
    """A server whose model is loaded, and its client. `close` ends both."""

    def __init__(
        self, encoding: str = "utf-16", root: Path | None = None, settings: Mapping[str, Any] = SETTINGS
    ) -> None:
        self.encoding = encoding
        self.root = root
        self._home = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._process = subprocess.Popen(  # noqa: S603  our own program
            SERVER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(Path(self._home.name)),
        )
        self.last_errors: deque[str] = deque(maxlen=N_LAST)
        self.last_messages: deque[Any] = deque(maxlen=N_LAST)
        self.shown: deque[str] = deque(maxlen=N_LAST)
        """The last messages for the user and the log."""
        self.respond: Callable[[dict[str, Any]], object] = lambda _request: None
        """Makes the client's result for a request of the server."""
        self.elapsed_ms: list[float] = []
        """The times of replies since the list was last emptied."""
        self.overslept_s = 0.0
        """The longest time by which this process woke up too late since the last `settle`: the machine's doing."""
        self._changed = threading.Condition()
        self._sent_s: dict[object, float] = {}
        self._answers: dict[object, Answer] = {}
        self._faults: list[str] = []
        self._is_over = False
        self._n_ids = 0
        self._threads = [
            threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
            threading.Thread(target=self._note_waking, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.call("initialize", _initialize_params(encoding, root, settings))
        self.send(notification("initialized", {}))
        while self.call("starcoder/metrics").result["model"] is None:
            pass  # each request waits for its reply
        self.elapsed_ms.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # Messages out

    def raw(self, data: bytes) -> None:
        """Write bytes. Raises `FaultError` if the server has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self.fault("the server has ended") from error

    def send(self, *messages: object) -> None:
        """Send messages, or bytes, in one write. `settle` waits for the replies to requests among them."""
        now_s = time.monotonic()
        with self._changed:
            for message in messages:
                if isinstance(message, dict) and "method" in message and _is_id(message.get("id")):
                    if message["id"] in self._sent_s or message["id"] in self._answers:
                        self._faults.append(f"the client used the id {message['id']!r} twice")
                    self._sent_s[message["id"]] = now_s
        self.raw(b"".join(each if isinstance(each, bytes) else framed(json.dumps(each).encode()) for each in messages))

    def new_id(self) -> int:
        """Return an id that no other request has."""
        self._n_ids += 1
        return self._n_ids

    def request(self, method: str, params: object = None) -> int:
        """Send a request and return its id."""
        number = self.new_id()
        self.send(notification(method, params) | {"id": number})
        return number

    def call(self, method: str, params: object = None) -> Answer:
        """Send a request and wait for its reply."""
        return self.answer(self.request(method, params))

    def notify(self, method: str, params: object) -> None:
        """Send a notification."""
        self.send(notification(method, params))

    def open(self, uri: str, text: str, language: str = "plaintext") -> None:
        """Open a document as version 1."""
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def close_document(self, uri: str) -> None:
        """Close a document."""
        self.notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def complete(self, uri: str, line: int, character: int, kind: int = 2) -> int:
        """Request an inline completion and return the request's id; kind 1 is invoked, 2 automatic."""
        return self.request("textDocument/inlineCompletion", completion_params(uri, line, character, kind))

    def explain(self, uri: str, line: int, character: int) -> dict[str, Any] | None:
        """Return the prompt at a place, or `None` in a document without suggestions."""
        where = {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        return self.call("starcoder/explain", where).result

    # Messages in

    def answer(self, number: object) -> Answer:
        """Wait for the reply to a request and return it. Raises `FaultError`."""
        self._wait(lambda: number in self._answers, f"no reply to request {number!r}")
        return self._answers.pop(number)

    def settle(self) -> list[Answer]:
        """Wait for the replies to all requests, and return those not returned before, in the order of the requests.

        Raises `FaultError` for a missing, second or unexpected reply, an internal error, or a traceback.
        """
        self._wait(lambda: not self._sent_s, "requests without a reply")
        self.call("starcoder/metrics")
        with self._changed:
            answers, self._answers = list(self._answers.values()), {}
        if self._faults:
            raise self.fault("; ".join(self._faults[:3]))
        if any("Traceback" in line for line in self.last_errors):
            raise self.fault("a traceback")
        self.overslept_s = 0.0
        return answers

    def fault(self, what: str) -> FaultError:
        """Return the error for a broken rule."""
        code = self._process.poll()
        end = "" if code is None else f"; exit code {code}"
        late = f"; this process woke up to {self.overslept_s:.1f} s late" if self.overslept_s > NAP_S else ""
        return FaultError(
            f"{what}{end}{late}; last messages {list(self.last_messages)[-8:]}; errors {list(self.last_errors)}"
        )

    def _wait(self, is_done: Callable[[], bool], what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: is_done() or self._is_over, REPLY_TIMEOUT_S)
            is_missing = not is_done()
            waiting = [str(each)[:20] for each in list(self._sent_s)[:5]]
        if is_missing:
            what += f"; waiting: {waiting}"
            raise self.fault(what)

    def _read(self, stream: BinaryIO) -> None:
        """Parse messages strictly: anything else on the stream is a fault."""
        try:
            while header := stream.readline():
                match = re.fullmatch(rb"Content-Length: ([0-9]+)\r\n", header)
                assert match, header
                while stream.readline() != b"\r\n":
                    pass
                self._receive(json.loads(stream.read(int(match[1]))))
        except (AssertionError, OSError, ValueError) as error:
            self._faults.append(f"no message on the stream: {error!r}")
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _receive(self, message: dict[str, Any]) -> None:
        self.last_messages.append(_clipped(message))
        if "method" in message:
            if message["method"] in ("window/showMessage", "window/logMessage"):
                self.shown.append(message["params"]["message"])
            if "id" in message:
                reply = {"jsonrpc": "2.0", "id": message["id"], "result": self.respond(message)}
                threading.Thread(target=self._reply, args=(reply,), daemon=True).start()
            return
        number, now_s = message.get("id"), time.monotonic()
        with self._changed:
            code = message.get("error", {}).get("code")
            if code == INTERNAL_ERROR:
                self._faults.append(f"an internal error: {_clipped(message)}")
            if number is not None and number not in self._sent_s:
                self._faults.append(f"a reply that nobody waits for: {_clipped(message)}")
            elif number is not None:
                elapsed_ms = (now_s - self._sent_s.pop(number)) * 1000
                self.elapsed_ms.append(elapsed_ms)
                self._answers[number] = Answer(message, elapsed_ms)
            self._changed.notify_all()

    def _reply(self, reply: object) -> None:
        """Reply on another thread, since the reader must not wait until the server reads."""
        try:
            self.raw(framed(json.dumps(reply).encode()))
        except FaultError:
            return  # the waiting thread notices the end

    def _note_waking(self) -> None:
        while not self._is_over:
            planned_s = time.monotonic() + NAP_S
            time.sleep(NAP_S)
            self.overslept_s = max(self.overslept_s, time.monotonic() - planned_s)

    def _read_errors(self, stream: BinaryIO) -> None:
        for line in stream:
            self.last_errors.append(line.decode("utf-8", "replace").rstrip())

    # The processes

    @property
    def process_id(self) -> int:
        """The id of the process that the client started."""
        return self._process.pid

    def children(self) -> list[psutil.Process]:
        """Return the processes below the server's."""
        try:
            return psutil.Process(self.process_id).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def footprints(self) -> list[Footprint]:
        """Return the resources of the server's process and of each child."""
        found = []
        for process in _and_children(self.process_id):
            try:
                with process.oneshot():
                    name = "server" if process.pid == self.process_id else _role(process.cmdline())
                    found.append(Footprint(name, process.memory_full_info().uss, process.num_fds()))
            except psutil.Error:
                continue
        return found

    @property
    def home(self) -> Path:
        """The server's home folder, which has its socket files."""
        return Path(self._home.name)

    def stop(self) -> None:
        """Shut down as the protocol says, and clean up. Raises `FaultError` unless the server ends with code 0."""
        self.end()
        self.kill()

    def end(self) -> None:
        """Shut down as the protocol says. Raises `FaultError` unless the server ends with code 0."""
        self.settle()
        self.call("shutdown")
        self.notify("exit", None)
        if self._process.wait(REPLY_TIMEOUT_S) != 0:
            raise self.fault("it ended badly")

    def kill(self) -> None:
        """End the server and its children."""
        for process in _and_children(self.process_id):
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        self._process.wait()
        self._home.cleanup()


def _environment(home: Path) -> dict[str, str]:
    """Return an environment with a new home folder, in which the offer of a model is declined."""
    state = home / ".local" / "state" / "starcoder-lsp"
    state.mkdir(parents=True)
    (state / "offer.json").write_text('{"declined": "by the tests"}')
    return ENVIRONMENT | dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"), str(home))


def _initialize_params(encoding: str, root: Path | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "processId": os.getpid(),
        "rootUri": root and root.as_uri(),
        "capabilities": {"general": {"positionEncodings": [encoding]}, "window": {"workDoneProgress": True}},
        "initializationOptions": {"starcoder": dict(settings)},
    }


def _is_id(number: object) -> bool:
    return isinstance(number, int | str) and not isinstance(number, bool)


def _clipped(message: object) -> str:
    return json.dumps(message)[:300]


def _and_children(process_id: int) -> Iterable[psutil.Process]:
    try:
        process = psutil.Process(process_id)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _role(command: list[str]) -> str:
    """Return the first word of a command line that is no interpreter, no option and not the program's name."""
    words = [word for word in command[1:] if not word.startswith("-") and word != "starcoder_lsp"]
    return Path(words[0]).name if words else "child"
