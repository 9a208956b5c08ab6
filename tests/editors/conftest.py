"""Real editors, with the configuration that editor-configs/README.md describes, word for word.

Each gets a home folder of its own, in which `~/starcoder-lsp` is this checkout, and a `starcoder-lsp` on its path that
is the real server behind a tap. `install.sh` installs the editors; `make test-editors` does that and runs these tests.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.editors.terminal import Terminal, until

ROOT = Path(__file__).parents[2]
EDITORS = ROOT / "build" / "editors"
KEPT = EDITORS / "screens"
ASKED = "STARCODER_TEST_EDITORS"
FOLDER = Path(__file__).parent

BEFORE = '''import sys


def read(path):
    """Read a file."""
    with open(path) as file:
        return file.read()


def append(path, text):
    """Append a text to a file."""
    with open(path, "a") as file:
        file.write(text)


'''
DEFINITION = "def write(path, text):\n"
AFTER = '\n\n\nif __name__ == "__main__":\n    print(read(sys.argv[1]))\n'
FILE = BEFORE + DEFINITION + AFTER
LINE = BEFORE.count("\n") + DEFINITION.count("\n") + 1
"""The empty line at which tests write, from 1."""
OWN = tempfile.TemporaryDirectory(prefix="slsp-")
RUNTIME = OWN.name
"""The folder for sockets. All editors here share one host, as those of a user do."""
LINES = "    return text"
REWRITES = (  # code actions: the line, of two, at which each is requested, and the expected text of `LINES`
    ("Fill the body of write", LINE - 1, "{}"),
    ("Write a docstring for write", LINE - 1, "{}\n" + LINES),
    ("Rewrite the selected lines", LINE, "    {}"),
)
OFFER = ".local/state/starcoder-lsp/offer.json"
UNUSUAL = '    if "😀e\N{COMBINING ACUTE ACCENT}" in te'
"""Characters that count differently in each position encoding, and take at least eleven columns of the screen."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "editors: drives a real editor; runs where STARCODER_TEST_EDITORS is set")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "desk" in getattr(item, "fixturenames", ()):
            item.add_marker("editors")
            if not os.environ.get(ASKED):
                reason = f"real editors are driven where {ASKED} is set: make test-editors"
                item.add_marker(pytest.mark.skip(reason=reason))


@define
class Log:
    """The messages between editor and server, recorded by `tap.py`."""

    path: Path

    def notes(self) -> list[dict[str, Any]]:
        """Return the lines of the record since the server was started, or was killed."""
        lines = self.path.read_text().split("\n")[:-1] if self.path.exists() else []
        noted = [json.loads(line) for line in lines]
        starts = [number for number, each in enumerate(noted) if each["from"] == "tap"]
        return noted[starts[-1] :] if starts else []

    def messages(self, sender: str = "") -> list[dict[str, Any]]:
        """Return the messages so far, of one side or both."""
        wanted = (sender,) if sender else ("client", "server")
        return [each["message"] for each in self.notes() if each["from"] in wanted]

    def kill(self) -> None:
        """End the server as a crash does."""
        os.kill(self.notes()[0]["message"], signal.SIGKILL)
        with self.path.open("a") as log:
            log.write('{"from": "tap", "message": null}\n')

    def summary(self) -> str:
        """Return the messages in short, and the server's standard error."""
        all_messages = [str(message.get("method", f"reply to {message.get('id')}")) for message in self.messages()]
        errors = self.path.with_suffix(".err")
        return ", ".join(all_messages) + "\n" + (errors.read_text() if errors.exists() else "")

    def sent(self, method: str) -> list[dict[str, Any]]:
        """Return the client's requests and notifications with a method."""
        return [message for message in self.messages("client") if message.get("method") == method]

    def waits_for(self, method: str) -> None:
        """Wait until the client has sent a message."""
        until(lambda: self.sent(method), lambda: f"the editor sent no {method}: {self.summary()}")

    def waits_for_model(self) -> None:
        """Wait until the server has reported, by progress, log or status, that its model is loaded."""
        until(lambda: "is ready" in str(self.messages("server")), lambda: f"no model is loaded: {self.summary()}")

    def replies(self, method: str = "textDocument/inlineCompletion") -> list[Any]:
        """Return the server's replies to requests with a method."""
        request_ids = {message["id"] for message in self.sent(method)}
        return [message for message in self.messages("server") if message.get("id") in request_ids]

    def answers(self, method: str = "textDocument/inlineCompletion") -> list[dict[str, Any]]:
        """Return the results that have items, in the order of arrival."""
        results = [message.get("result") for message in self.replies(method)]
        return [result for result in results if result and result["items"]]

    def has_answer(self) -> None:
        """Wait until the server has made a suggestion."""
        until(self.texts, lambda: f"no suggestion: {self.summary()}")

    def texts(self) -> list[str]:
        """Return the suggestions of the last answer that has any."""
        answers = self.answers()
        return [item["insertText"] for item in answers[-1]["items"]] if answers else []

    def edit(self, number: int) -> str:
        """Wait until the editor has applied the edit of a code action, counted from 1, and return its text."""

        def made() -> Any:
            all_messages, request_ids = self.messages(), {message["id"] for message in self.sent("codeAction/resolve")}
            replies = [
                n
                for n, message in enumerate(all_messages)
                if message.get("id") in request_ids and "method" not in message
            ]
            behind = all_messages[replies[number - 1] :] if len(replies) >= number else []
            changes = [message for message in behind if message.get("method") == "textDocument/didChange"]
            return changes and behind[0]["result"]["edit"]["documentChanges"][-1]["edits"][0]

        until(made, lambda: f"no edit: {self.summary()}")
        return str(made()["newText"])

    def hold(self, *, is_held: bool, side: str = "server") -> None:
        """Hold back the server's answers from now on, or the client's requests (`client`); or release them."""
        path = self.path.with_suffix(f".{side}")
        path.touch() if is_held else path.unlink()

    def unanswered(self) -> dict[Any, str]:
        """Return the requests of both sides without a reply, by id; not `shutdown`, for which editors do not wait."""
        waiting: dict[Any, str] = {}
        for requester, replier in (("client", "server"), ("server", "client")):
            requests = {m["id"]: m["method"] for m in self.messages(requester) if "method" in m and "id" in m}
            replied = {m["id"] for m in self.messages(replier) if "method" not in m}
            waiting |= {each: method for each, method in requests.items() if each not in replied}
        return {each: method for each, method in waiting.items() if method != "shutdown"}

    def profile(self, home: Path) -> dict[str, Any]:
        """Return the editor's `initialize` parameters, without values that differ between runs."""
        sent = json.dumps(self.sent("initialize")[0]["params"]).replace(str(home), "/home/person")
        return {**json.loads(sent), "processId": None}

    def check(self) -> None:
        """Check that each request has exactly one reply, and that only cancelled ones got an error."""
        assert not self.unanswered()
        assert "internal error" not in str(self.messages("server"))
        for requester, replier in (("client", "server"), ("server", "client")):
            requests = {m["id"]: m["method"] for m in self.messages(requester) if "method" in m and "id" in m}
            replies = [m for m in self.messages(replier) if "method" not in m]
            cancelled = {m["params"]["id"] for m in self.messages(requester) if m.get("method") == "$/cancelRequest"}
            replied = [m["id"] for m in replies]
            assert len(replied) == len(set(replied))
            assert set(replied) <= set(requests)
            assert not [m for m in replies if "error" in m and m["id"] not in cancelled]


@define
class Desk:
    """A user's screen: a terminal with an editor, a file, and the record of messages."""

    home: Path
    terminal: Terminal
    log: Log
    file: Path

    def keep(self, name: str) -> None:
        """Save a picture of the screen, and the editor's `initialize` parameters."""
        self.terminal.picture(KEPT / f"{name}.svg")
        profile = self.log.profile(self.home)
        (KEPT / f"{name}.json").write_text(json.dumps(profile, indent=2, sort_keys=True) + "\n")

    def write(self, path: str, text: str) -> None:
        """Write a file below the home folder."""
        target = self.home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def run(self, script: str) -> None:
        """Run shell commands as the user."""
        environment = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-ec", script], check=True, env=environment)  # noqa: S603  an example of ours

    def start(self, *command: str) -> None:
        """Start an editor with the file; wait until the server can answer."""
        self.launch(*command)
        self.is_served()

    def is_served(self) -> None:
        """Wait until the server knows the file and has its model."""
        self.log.waits_for("textDocument/didOpen")
        self.log.waits_for_model()

    def launch(self, *command: str) -> None:
        """Start an editor with the file."""
        environment = {
            "HOME": str(self.home),
            "PATH": f"{self.home}/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "tmux-256color",
            "COLORTERM": "truecolor",
        }
        self.terminal.start(list(command), self.file.parent, environment)

    def suggests(self, typed: str) -> str:
        """Wait until the screen shows `typed` and the first line of the last answer; return the whole answer."""

        def line() -> str:
            return typed + next(iter(self.log.texts()), "\0").split("\n")[0]

        until(lambda: line() in self.terminal.screen(), lambda: f"no {line()!r} on\n{self.terminal.screen()}")
        return self.log.texts()[0]

    def leave(self, *keys: str) -> None:
        """Quit the editor by these keys, and check all messages."""
        until(lambda: not self.log.unanswered(), lambda: f"no reply to {self.log.unanswered()}")
        self.terminal.keys(*keys)
        until(self.terminal.has_ended, self.terminal.screen)
        self.log.check()

    def holds(self, line: str) -> None:
        """Wait until the file on disk has `line` where the tests write, and is unchanged elsewhere."""
        wanted = BEFORE + DEFINITION + line + AFTER

        until(lambda: self.text() == wanted, lambda: f"{self.text()!r} is not {wanted!r}")

    def text(self, name: str = "files.py") -> str:
        """Return the text of a file on disk; empty while an editor replaces the file."""
        try:
            return self.file.with_name(name).read_text()
        except FileNotFoundError:
            return ""

    def has_tests(self, *functions: str) -> None:
        """Wait until the file of tests has exactly one test for each of some functions, in this order."""
        found = re.compile(r"^def test_(\w+)", re.MULTILINE).findall
        until(lambda: found(self.text("test_files.py")) == [*functions], lambda: self.text("test_files.py"))


@pytest.fixture(scope="session", autouse=True)
def hosts_end() -> Iterator[None]:
    """End the host that the editors shared; it would wait for another editor."""
    yield
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"XDG_RUNTIME_DIR={RUNTIME}\0".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGTERM)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    home, project = tmp_path / "home", tmp_path / "home" / "project"
    for folder in (project / ".git", home / "bin"):
        folder.mkdir(parents=True)
    (home / "starcoder-lsp").symlink_to(ROOT)
    log = Log(tmp_path / "messages.jsonl")
    server = home / "bin" / "starcoder-lsp"
    real = f"{sys.executable} -m starcoder_lsp"
    tapped = f"{sys.executable} {FOLDER}/tap.py {log.path} {real} 2>> {log.path.with_suffix('.err')}"
    own = f"export XDG_RUNTIME_DIR={RUNTIME} PYTHONPATH={ROOT}"
    server.write_text(f'#!/bin/sh\n{own}\n[ $# = 0 ] || exec {real} "$@"\nexec {tapped}\n')
    server.chmod(0o755)
    file = project / "files.py"
    file.write_text(FILE)
    offer = home / OFFER
    offer.parent.mkdir(parents=True)
    offer.write_text('{"declined": "by the tests"}')  # tests of the offer delete this file
    desk = Desk(home, Terminal(tmp_path / "tmux"), log, file)
    yield desk
    try:
        desk.terminal.stop()
    except subprocess.CalledProcessError:
        print("the terminal has ended before the test")


def block(heading: str, language: str) -> str:
    """Return the first example in a language below a heading of editor-configs/README.md."""
    text = (ROOT / "editor-configs" / "README.md").read_text()
    section = text[text.index(f"\n## {heading}\n") :]
    match = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert match is not None
    return match[1]
