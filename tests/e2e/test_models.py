"""Getting a model into use: by `starcoder-lsp models`, and by messages with buttons in an editor."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.models.catalogue import entries
from tests.catalogue_hub import catalogue_hub
from tests.e2e.conftest import CODE, CURSOR, ENVIRONMENT, SERVER, SETTINGS, TIMEOUT_S, URI, Start, Wire, request
from tests.e2e.test_front import is_back, session_of
from tests.hub import FakeHub, Fault, serving
from tests.unit.test_prompt_text import tokenizer_file

NAME = "starcoder2-3b"
BUTTONS = {"window": {"showMessage": {}, "workDoneProgress": True, "showDocument": {"support": True}}}
SIZE = DEMONSTRATOR.stat().st_size


@define
class User:
    """A user who has just installed the program, with an own home folder and a hub."""

    home: Path
    hub: FakeHub

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in ENVIRONMENT.items() if not name.lower().endswith("_proxy")}
        own = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "HF_ENDPOINT": self.hub.endpoint}
        return {**clean, **own, "XDG_RUNTIME_DIR": str(self.home / "run"), "no_proxy": "127.0.0.1"}

    @property
    def settings_file(self) -> Path:
        return self.home / "config" / "starcoder-lsp" / "starcoder-lsp.toml"

    def settings(self) -> dict[str, Any]:
        return tomllib.loads(self.settings_file.read_text())

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*SERVER, "models", *arguments]
        return subprocess.run(  # noqa: S603  our own program
            command, env=self.environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    def answer(self, *arguments: str) -> Any:
        ran = self.run(*arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def failure(self, *arguments: str) -> str:
        ran = self.run(*arguments)
        assert ran.returncode == 2, ran.stdout
        return ran.stderr.strip().splitlines()[-1]


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    home = tmp_path / "h"
    (home / "run").mkdir(parents=True, mode=0o700)
    with serving(catalogue_hub()) as hub:
        yield User(home, hub)


def test_one_command_downloads_a_model_and_uses_it(user: User) -> None:
    pulled = user.answer("pull", NAME, "--accept-licence")
    path = Path(pulled["path"])
    assert path.read_bytes() == user.hub.files[entries()[NAME].source.repository, entries()[NAME].source.file]
    assert pulled["inUse"]
    assert pulled["revision"] == entries()[NAME].source.revision
    assert user.settings()["model"] == {"name": NAME}
    assert user.answer("path")["path"] == str(path) == user.answer("path", NAME)["path"]
    assert user.answer("verify")["isRight"]
    listed = user.answer("list")
    row = next(each for each in listed["catalogue"] if each["name"] == NAME)
    assert row["inUse"]
    assert row["licence"]["accepted"]
    assert listed["inUse"] == NAME
    again = user.answer("pull", NAME)
    assert again["wasHere"]
    removed = user.answer("remove", NAME)
    assert removed["wasInUse"]
    assert not path.exists()
    assert user.settings()["model"] == {}
    assert "is not on this machine" in user.failure("path", NAME)


def test_the_licence_is_shown_and_has_to_be_accepted(user: User) -> None:
    ran = user.run("pull", NAME)
    assert ran.returncode == 2
    assert "--accept-licence" in ran.stderr
    for line in (*entries()[NAME].licence.asks, entries()[NAME].licence.url):
        assert line in ran.stderr
    assert not user.hub.requests("bytes")
    user.answer("pull", NAME, "--accept-licence")
    (record,) = user.home.rglob("licences.json")
    accepted = json.loads(record.read_text())[NAME]
    assert accepted["licence"] == "bigcode-openrail-m"
    assert accepted["revision"] == entries()[NAME].source.revision
    assert accepted["accepted"].startswith("20")
    user.answer("remove", NAME)
    user.answer("pull", NAME)  # the licence is not shown again


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_in_a_terminal_the_user_is_asked_to_accept_the_licence(user: User, typed: str, code: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S603  our own program
        [*SERVER, "models", "pull", NAME], env=user.environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    screen = b""
    while select.select([ours], [], [], TIMEOUT_S)[0]:
        try:
            data = os.read(ours, 4096)
        except OSError:  # Linux reports the end of a terminal as an error
            break
        if b"accept it?" in screen + data and b"accept it?" not in screen:
            os.write(ours, typed.encode())
        screen += data
    assert process.wait(TIMEOUT_S) == code, screen.decode()
    os.close(ours)
    assert bool(user.hub.requests("bytes")) == (code == 0)


def test_a_failed_download_is_resumed(user: User) -> None:
    user.hub.faults.extend([Fault(cut_at=100_000), *[Fault(status=416)] * 0, *[Fault(status=404)]])
    assert "there is no" in user.failure("pull", NAME, "--accept-licence")
    assert not user.settings_file.exists()
    user.answer("pull", NAME)
    assert user.hub.ranges() == ["", "bytes=100000-", "bytes=100000-"]


def test_a_downloaded_file_that_is_no_model_is_deleted(user: User) -> None:
    user.hub.files["some/repo", "mmproj.gguf"] = b"GGUF, or not"
    message = user.failure("pull", "some/repo:mmproj.gguf", "--accept-licence")
    assert "mmproj.gguf" in message
    assert not list(user.home.rglob("*.gguf"))


def test_a_vocabulary_is_downloaded_without_its_model(user: User) -> None:
    """It is for a model on a server. The hub has no sha256 of StarCoder2's, a plain file of its repository."""
    name, content = "some/repo:tokenizer.json", json.dumps(tokenizer_file()).encode()
    user.hub.files["some/repo", "tokenizer.json"] = content
    user.hub.states_sha256 = False
    assert "has tokenizer.json" in user.failure("pull", "some/repo")
    assert "is a vocabulary" in user.failure("pull", name, "--use")
    pulled = user.answer("pull", name, "--accept-licence")
    path = Path(pulled["path"])
    assert path.read_bytes() == content
    assert (pulled["parameters"], pulled["inUse"]) == (None, False)
    assert not user.settings_file.exists()
    said = user.run("pull", name).stdout
    assert f'vocabulary = "{path}"' in said
    assert "sha256" not in said
    assert user.answer("path", name) == {"path": str(path)}
    assert user.answer("verify", name)["isRight"]
    assert "is a vocabulary" in user.failure("use", name)
    assert user.answer("list")["pulled"] == []
    user.answer("remove", name)
    assert not path.exists()


def test_a_downloaded_file_that_is_no_vocabulary_is_deleted(user: User) -> None:
    user.hub.files["some/repo", "tokenizer.json"] = b'{"model": {"type": "Unigram"}}'
    assert "model.vocab" in user.failure("pull", "some/repo:tokenizer.json", "--accept-licence")
    assert not list(user.home.rglob("tokenizer.json*"))


def test_a_file_of_any_repository_can_be_downloaded(user: User) -> None:
    user.hub.files["some/repo", "fine.gguf"] = DEMONSTRATOR.read_bytes()
    user.hub.licences["some/repo"] = "weird-1.0"
    ran = user.run("pull", "some/repo:fine.gguf")
    assert "weird-1.0" in ran.stderr
    pulled = user.answer("pull", "some/repo:fine.gguf", "--accept-license", "--no-use")
    assert not pulled["inUse"]
    assert not user.settings_file.exists()
    user.answer("use", "some/repo:fine.gguf")
    assert user.settings()["model"]["path"] == pulled["path"]
    assert user.answer("verify", "some/repo:fine.gguf")["isRight"]
    listed = user.answer("list")
    assert [each["name"] for each in listed["pulled"]] == ["some/repo:fine.gguf"]
    assert user.answer("remove", "some/repo:fine.gguf")["wasInUse"]


def test_verify_finds_a_changed_model(user: User) -> None:
    path = Path(user.answer("pull", NAME, "--accept-licence")["path"])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    ran = user.run("verify", NAME)
    assert ran.returncode == 1
    assert "WRONG" in ran.stdout


def test_use_sets_the_path_of_a_file_and_changes_no_other_setting(user: User) -> None:
    model = user.home / "models" / "mine.gguf"
    model.parent.mkdir()
    model.write_bytes(DEMONSTRATOR.read_bytes())
    user.settings_file.parent.mkdir(parents=True)
    text = '# my own\ntrigger = "invoked"  # I ask\n\n[model]\n# small\nthreads = 2\n\n[cache]\nramMiB = 64\n'
    user.settings_file.write_text(text)
    found = user.answer("list")["found"]
    assert [(each["place"], each["path"]) for each in found] == [("~/models", str(model))]
    user.answer("use", "mine.gguf")
    written = user.settings_file.read_text()
    for line in text.splitlines():
        assert line in written
    assert user.settings()["model"] == {"threads": 2, "path": str(model)}
    user.answer("use", "demonstrator")
    assert user.settings()["model"] == {"threads": 2}
    assert "file of yours" in user.failure("remove", str(model))
    assert model.exists()


@pytest.mark.parametrize(
    ("text", "words"), [("[model\n", "not valid TOML"), ("model = 3\n", "not a table"), (b"\xff", "cannot be changed")]
)
def test_a_settings_file_that_cannot_be_changed_is_an_error(user: User, text: str | bytes, words: str) -> None:
    user.settings_file.parent.mkdir(parents=True)
    data = text if isinstance(text, bytes) else text.encode()
    user.settings_file.write_bytes(data)
    assert words in user.failure("use", str(DEMONSTRATOR))
    assert user.settings_file.read_bytes() == data


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("use", "starcoder2-7b"), "models pull starcoder2-7b"),
        (("use", "starcoder2-8b"), "did you mean"),
        (("use", "./none.gguf"), "There is no model file"),
        (("remove", NAME), "is not on this machine"),
        (("pull", "a/b/c"), "neither a name of the catalogue"),
        (("verify", "/"), "is a folder"),
    ],
)
def test_an_unknown_name_is_an_error(user: User, arguments: tuple[str, ...], words: str) -> None:
    assert words in user.failure(*arguments)


def test_other_commands_accept_names_of_models(user: User, tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    source.write_text(CODE)
    place = f"{source}:{CURSOR[0] + 1}:{CURSOR[1] + 1}"
    command = [*SERVER, "complete", place, "--model", NAME]
    ran = subprocess.run(command, env=user.environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert ran.returncode == 2
    assert f"models pull {NAME}" in ran.stderr
    user.answer("pull", NAME, "--accept-licence", "--no-use")
    ran = subprocess.run(command, env=user.environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert ran.returncode == 0, ran.stderr


# In an editor


@define
class Editor:
    """A client that shows messages with buttons, and presses those that the test chooses."""

    wire: Wire

    def suggestion(self) -> str:
        self.wire.open(URI, CODE)
        return str(self.wire.complete("first", URI, *CURSOR)["result"]["items"][0]["insertText"])

    def message(self) -> Any:
        """Return the next message with buttons."""
        return self.until("window/showMessageRequest")

    def until(self, method: str, words: str = "") -> Any:
        def is_wanted(message: Any) -> bool:
            if message.get("method") == "window/workDoneProgress/create":
                self.wire.send({"jsonrpc": "2.0", "id": message["id"], "result": None})
            return message.get("method") == method and words in json.dumps(message, ensure_ascii=False)

        return self.wire.until(is_wanted)

    def press(self, message: Any, button: str) -> None:
        titles = [each["title"] for each in message["params"]["actions"]]
        (title,) = [each for each in titles if each.startswith(button)]
        self.wire.send({"jsonrpc": "2.0", "id": message["id"], "result": {"title": title}})

    def command(self, name: str, *arguments: object) -> Any:
        params = {"command": name, "arguments": list(arguments)}
        return self.wire.call(f"{name} {len(self.wire.came)}", "workspace/executeCommand", params)


@pytest.fixture
def editor(user: User, wire: Start) -> Editor:
    started = wire(env=user.environment)
    started.start(SETTINGS, BUTTONS)
    started.model_is_loaded()
    return Editor(started)


def test_accepting_the_offer_puts_the_model_into_use(editor: Editor, user: User) -> None:
    assert editor.suggestion()
    offer = editor.message()
    assert "demonstrator" in offer["params"]["message"]
    titles = [each["title"] for each in offer["params"]["actions"]]
    assert titles == ["Get StarCoder2 3B (1.8 GB)…", "Use a file…", "Use a server…", "Not now"]
    editor.press(offer, "Get")
    licence = editor.message()
    for line in entries()[NAME].licence.asks:
        assert line in licence["params"]["message"]
    editor.press(licence, "Read the licence")
    page = editor.until("window/showDocument")
    assert page["params"]["uri"] == entries()[NAME].licence.url
    editor.wire.send({"jsonrpc": "2.0", "id": page["id"], "result": {"success": True}})
    editor.press(editor.message(), "Accept")
    begun = editor.until("$/progress", f"Downloading {NAME}")
    assert begun["params"]["value"]["cancellable"]
    editor.until("$/progress", "is ready")
    status = editor.command("starcoder.showStatus")["result"]
    assert (status["kind"], status["message"]) == ("ready", "")
    assert editor.wire.complete("second", URI, *CURSOR)["result"]["items"]
    assert user.settings()["model"] == {"name": NAME}
    assert editor.wire.stop() == 0


def test_a_declined_offer_does_not_come_again(editor: Editor, user: User, wire: Start) -> None:
    assert editor.suggestion()
    editor.press(editor.message(), "Not now")
    editor.until("window/showMessage", "starcoder.pullModel")
    assert editor.wire.stop() == 0
    again = wire(env=user.environment)
    again.start(SETTINGS, BUTTONS)
    again.model_is_loaded()
    assert Editor(again).suggestion()
    assert again.stop() == 0
    assert not [message for message in again.rest() if message.get("method") == "window/showMessageRequest"]


def test_a_closed_offer_does_not_come_again_in_the_session(editor: Editor) -> None:
    assert editor.suggestion()
    offer = editor.message()
    editor.wire.send({"jsonrpc": "2.0", "id": offer["id"], "result": None})
    editor.wire.complete("second", URI, *CURSOR)
    assert editor.wire.stop() == 0
    questions = [message for message in editor.wire.rest() if message.get("method") == "window/showMessageRequest"]
    assert len(questions) == 1


def test_a_cancelled_download_is_resumed_by_the_command(editor: Editor, user: User) -> None:
    user.hub.faults.append(Fault(hold_at=SIZE // 2))
    assert editor.command("starcoder.pullModel", NAME)["result"] == {"pulling": NAME}
    editor.press(editor.message(), "Accept")
    begun = editor.until("$/progress", f"Downloading {NAME}")
    assert user.hub.is_holding.wait(TIMEOUT_S)
    editor.wire.send(
        {"jsonrpc": "2.0", "method": "window/workDoneProgress/cancel", "params": {"token": begun["params"]["token"]}}
    )
    editor.until("window/showMessage", "was cancelled")
    user.hub.lets_go.set()
    editor.command("starcoder.pullModel", NAME)
    editor.until("$/progress", "is ready")
    ranges = user.hub.ranges()
    assert len(ranges) == 2
    assert int(ranges[1].removeprefix("bytes=").rstrip("-")) > 0
    assert editor.wire.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_later_session_has_the_model_that_was_chosen_last(editor: Editor, user: User) -> None:
    """The first choice is a command with a path, the last one a download."""
    missing = str(user.home / "missing.gguf")
    assert editor.command("starcoder.selectModel", missing)["result"]["kind"] == "error"
    editor.command("starcoder.pullModel", NAME)
    editor.press(editor.message(), "Accept")
    editor.until("$/progress", "is ready")
    os.kill(session_of(editor.wire), signal.SIGKILL)
    is_back(editor.wire)
    assert editor.command("starcoder.showStatus")["result"]["kind"] == "ready"
    assert editor.wire.stop() == 0


def test_a_path_in_the_editors_own_settings_that_outlives_the_choice_is_named(user: User, wire: Start) -> None:
    started = wire(env=user.environment)
    started.start({**SETTINGS, "model": {"path": str(DEMONSTRATOR)}}, BUTTONS)
    started.model_is_loaded()
    editor = Editor(started)
    editor.command("starcoder.pullModel", NAME)
    editor.press(editor.message(), "Accept")
    assert str(DEMONSTRATOR) in editor.until("window/showMessage", "model.path")["params"]["message"]
    editor.until("$/progress", "is ready")
    assert editor.wire.stop() == 0


def test_a_failed_download_is_a_message(editor: Editor, user: User) -> None:
    user.hub.gated.add(entries()[NAME].source.repository)
    editor.command("starcoder.pullModel", NAME)
    assert "gated" in editor.until("window/showMessage")["params"]["message"]
    editor.command("starcoder.pullModel", "starcoder9")
    assert "not a model of the catalogue" in editor.until("window/showMessage")["params"]["message"]
    assert "error" in editor.command("starcoder.pullModel", 1)
    assert "error" in editor.command("starcoder.pullModel", "a", "b")
    assert editor.command("starcoder.showStatus")["result"]["kind"] == "ready"
    assert editor.wire.stop() == 0


def test_a_model_of_another_program_can_be_used(editor: Editor, user: User) -> None:
    folder = user.home / ".lmstudio" / "models" / "someone" / "StarCoder2"
    folder.mkdir(parents=True)
    (folder / "sc2.gguf").write_bytes(DEMONSTRATOR.read_bytes())
    assert editor.suggestion()
    editor.press(editor.message(), "Use a file")
    choice = editor.message()
    editor.press(choice, "sc2.gguf (LM Studio")
    editor.until("$/progress", "is ready")
    assert user.settings()["model"]["path"] == str(folder / "sc2.gguf")
    assert editor.wire.stop() == 0


def test_the_command_offers_the_catalogue(editor: Editor) -> None:
    editor.command("starcoder.pullModel")
    titles = [each["title"] for each in editor.message()["params"]["actions"]]
    assert titles[0].startswith("Get StarCoder2 3B")
    assert titles[-2:] == ["Use a file…", "Not now"]
    editor.command("starcoder.pullModel")  # one message at a time
    assert editor.wire.stop() == 0
    questions = [message for message in editor.wire.rest() if message.get("method") == "window/showMessageRequest"]
    assert len(questions) == 1


def test_a_command_comes_in_place_of_an_offer_that_is_not_answered(editor: Editor) -> None:
    assert editor.suggestion()
    offer = editor.message()
    editor.command("starcoder.pullModel")
    choice = editor.message()
    assert "which model" in choice["params"]["message"]
    editor.press(offer, "Get")  # too late
    editor.press(choice, "Not now")
    assert editor.wire.stop() == 0
    questions = [message for message in editor.wire.rest() if message.get("method") == "window/showMessageRequest"]
    assert questions == [offer, choice]


def test_a_client_without_buttons_gets_a_message_only(user: User, wire: Start) -> None:
    for n_lines in (1, 0):
        started = wire(env=user.environment)
        started.start(SETTINGS)
        started.model_is_loaded()
        editor = Editor(started)
        assert editor.suggestion()
        if n_lines:
            editor.until("window/showMessage", "models pull")
        assert started.stop() == 0
        shown = [message for message in started.rest() if message.get("method") == "window/showMessage"]
        assert len(shown) == n_lines
    started = wire(env=user.environment)
    started.start(SETTINGS, BUTTONS)
    started.model_is_loaded()
    editor = Editor(started)
    assert editor.suggestion()
    editor.message()  # a client with buttons still gets the offer
    assert started.stop() == 0


def test_a_model_name_without_a_file_is_reported_without_an_offer(user: User, wire: Start) -> None:
    started = wire(env=user.environment)
    started.start({**SETTINGS, "model": {"name": NAME}}, BUTTONS)
    assert f"models pull {NAME}" in Editor(started).until("window/showMessage")["params"]["message"]
    started.send(request("status", "workspace/executeCommand", {"command": "starcoder.showStatus"}))
    assert started.reply("status")["result"]["kind"] == "error"
    assert started.stop() == 0
