"""The front replies in time even if the session dies or hangs, and a new session has the open documents."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import CODE, CURSOR, SETTINGS, URI, Start, Wire, completion_params, notification, request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

SABOTAGED = """
import os, re, signal, sys
from starcoder_lsp.documents import parsing, syntax
from starcoder_lsp.lsp.run import run_session

parse = syntax.parse

def sabotaged(grammar, data, *arguments):
    if b"hang" in data:
        re.match(r"(a+)+$", "a" * 60 + "b")  # for ever, with the interpreter's lock
    if b"crash" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    return parse(grammar, data, *arguments)

syntax.parse = sabotaged
raise SystemExit(run_session())
"""
FRONT = f"""
import sys
from starcoder_lsp.cli import main
from starcoder_lsp.front import session_process

session_process.COMMAND = (sys.executable, "-c", {SABOTAGED!r})
raise SystemExit(main())
"""
MARGIN_S = 0.1
SLACK_S = 2.0
"""Extra time for a busy machine; `make soak` measures the real deadline."""
QUICK = SETTINGS | {"completion": {"maxTokens": 8, "timeoutMs": 1500}}
OTHER = "file:///code/other.py"


def sabotaged(wire: Start) -> Wire:
    server = wire(command=[sys.executable, "-c", FRONT])
    server.start(QUICK)
    server.model_is_loaded()
    server.open(URI, CODE)
    return server


def session_of(server: Wire) -> int:
    """Return the process id of the session, the front's only child."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    for path in Path(f"/proc/{server.process.pid}/task").glob("*/children"):
        children += path.read_text().split()
    return int(children[0])


def shown_messages(server: Wire) -> list[str]:
    return [m["params"]["message"] for m in server.came if m.get("method") == "window/showMessage"]


def starts_again(message: Any) -> bool:
    """Return whether a message says that the session has ended, and another one starts."""
    return message.get("method") == "window/logMessage" and "starts again" in message["params"]["message"]


def is_back(server: Wire) -> None:
    """Wait until a new session has the model."""
    n = 0
    while server.call(f"back {time.monotonic_ns()}", "starcoder/metrics")["result"]["model"] is None:
        n += 1


def first_items(server: Wire) -> Any:
    """Request suggestions in the ordinary document until the reply is not `null`; a busy machine takes several."""
    n = 0
    while (result := server.complete(f"again {n}", URI, *CURSOR)["result"]) is None:
        n += 1
    return result["items"]


@pytest.mark.parametrize("way", ["crash", "hang"])
def test_a_request_that_stops_the_session_gets_null_and_its_document_no_tree(wire: Start, way: str) -> None:
    server = sabotaged(wire)
    before = session_of(server)
    uri = f"file:///code/{way}.py"
    server.open(uri, f"{way} = 1\nx = \n")
    started = time.monotonic()
    assert server.complete(1, uri, 1, 4)["result"] is None
    assert time.monotonic() - started < 1.5 + MARGIN_S + SLACK_S
    is_back(server)
    assert session_of(server) != before
    assert first_items(server), "the other document is there again"
    assert "result" in server.complete(3, uri, 1, 4)
    is_back(server)
    (message,) = shown_messages(server)
    assert f"{way}.py" in message
    assert server.stop() == 0


def test_metrics_are_answered_while_the_session_hangs(wire: Start) -> None:
    server = sabotaged(wire)
    server.open("file:///code/hang.py", "hang = 1\nx = \n")
    server.send(request("stuck", "textDocument/inlineCompletion", completion_params("file:///code/hang.py", 1, 4)))
    stale = 0
    while not any(message.get("id") == "stuck" for message in server.came):
        server.send(request(stale, "starcoder/metrics"))
        stale += "staleMs" in server.reply(stale)["result"]
        server.came = [message for message in server.came if message.get("id") != stale]
    assert stale
    assert server.reply("stuck")["result"] is None


def test_the_server_survives_a_crash_in_a_grammar(wire: Start) -> None:
    """The crash is real: 255 block markers in a line of Markdown, with the guard against them removed."""
    code = FRONT.replace(
        "syntax.parse = sabotaged",
        "from starcoder_lsp.documents import nesting; nesting.is_too_deep = lambda *_: False",
    )
    server = wire(command=[sys.executable, "-c", code])
    server.start(QUICK)
    server.model_is_loaded()
    server.open("file:///code/a.md", "> " * 255 + "x\n", "markdown")
    for number in range(2):
        server.complete(number, "file:///code/a.md", 0, 511)
        is_back(server)
    assert [message for message in shown_messages(server) if "a.md" in message] == shown_messages(server)
    assert len(shown_messages(server)) == 1
    assert server.complete(9, "file:///code/a.md", 0, 511)["result"] is not None
    assert server.stop() == 0


def test_kills_at_random_lose_no_edit_and_no_reply(wire: Start) -> None:
    """`explain` shows that a new session has the editor's text."""
    dice = random.Random(15)
    server = wire()
    server.start(SETTINGS | {"completion": {"maxTokens": 2}})
    server.model_is_loaded()
    text, version, n_asked = "x = 1\n", 1, 0
    server.open(URI, text)
    for _ in range(3):
        for _ in range(dice.randrange(1, 90)):
            at = dice.randrange(len(text))
            line = text.count("\n", 0, at)
            place = {"line": line, "character": at - (text.rfind("\n", 0, at) + 1)}
            piece = dice.choice(["a", "é", "\n", "()"])
            text, version, n_asked = text[:at] + piece + text[at:], version + 1, n_asked + 1
            change = {"range": {"start": place, "end": place}, "text": piece}
            document = {"uri": URI, "version": version}
            server.send(
                notification("textDocument/didChange", {"textDocument": document, "contentChanges": [change]}),
                request(n_asked, "textDocument/inlineCompletion", completion_params(URI, 0, 0, kind=2)),
            )
        os.kill(session_of(server), signal.SIGKILL)
        is_back(server)
        where = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 0}}
        explained = server.call(f"e {time.monotonic_ns()}", "starcoder/explain", where)["result"]
        assert text in explained["prompt"]
    for number in range(1, n_asked + 1):
        assert "result" in server.reply(number)
    assert len([m for m in server.came if m.get("id") == 1]) == 1
    assert shown_messages(server) == []
    assert server.stop() == 0


def test_a_new_session_repeats_no_registration_or_progress(wire: Start) -> None:
    server = wire()
    capabilities = {
        "window": {"workDoneProgress": True},
        "workspace": {"didChangeConfiguration": {"dynamicRegistration": True}},
    }
    server.start(capabilities=capabilities)
    answered: set[Any] = set()

    def answer() -> None:
        for message in server.came:
            if "method" in message and "id" in message and message["id"] not in answered:
                answered.add(message["id"])
                server.send({"jsonrpc": "2.0", "id": message["id"], "result": None})

    def is_loaded() -> None:
        while server.call(f"l {time.monotonic_ns()}", "starcoder/metrics")["result"]["model"] is None:
            answer()

    server.until(lambda message: message.get("method") == "window/workDoneProgress/create")
    answer()
    is_loaded()
    for _ in range(2):
        os.kill(session_of(server), signal.SIGKILL)
        is_loaded()
        answer()
    requested = [message["method"] for message in server.came if "method" in message and "id" in message]
    assert requested.count("client/registerCapability") == 1
    assert requested.count("window/workDoneProgress/create") == 1
    kinds = [m["params"]["value"]["kind"] for m in server.came if m.get("method") == "$/progress"]
    assert kinds.count("begin") == kinds.count("end") <= 1  # none if the reply took longer than the session's second
    assert server.stop() == 0


def test_commands_apply_to_later_sessions_too(wire: Start) -> None:
    server = wire()
    server.start()
    assert server.call(1, "workspace/executeCommand", {"command": "starcoder.toggle"})["result"] == {"enabled": False}
    os.kill(session_of(server), signal.SIGKILL)
    server.until(starts_again)
    status = server.call(2, "workspace/executeCommand", {"command": "starcoder.showStatus"})["result"]
    assert (status["kind"], status["model"]) == ("off", None)
    assert server.call(3, "workspace/executeCommand", {"command": "starcoder.toggle"})["result"] == {"enabled": True}
    is_back(server)
    assert server.stop() == 0


def test_a_load_is_shown_once_suggestions_are_on_also_after_a_crash(wire: Start) -> None:
    server = wire()
    server.start(SETTINGS | {"enabled": False}, {"window": {"workDoneProgress": True}})
    server.call(1, "workspace/executeCommand", {"command": "starcoder.showStatus"})
    os.kill(session_of(server), signal.SIGKILL)
    server.until(starts_again)
    server.call(2, "workspace/executeCommand", {"command": "starcoder.toggle"})
    created = server.until(lambda message: message.get("method") == "window/workDoneProgress/create")
    server.send({"jsonrpc": "2.0", "id": created["id"], "result": None})
    server.until(lambda message: message.get("params", {}).get("value", {}).get("kind") == "end")
    is_back(server)
    assert server.stop() == 0


def test_a_new_session_gets_the_accepted_initialize(wire: Start) -> None:
    server = wire()
    assert "error" in server.call("refused", "initialize", {"capabilities": 3})
    server.start()
    assert "error" in server.call("again", "initialize", {"capabilities": {}})
    server.model_is_loaded()
    server.open(URI, CODE)
    os.kill(session_of(server), signal.SIGKILL)
    is_back(server)
    assert "result" in server.complete(1, URI, *CURSOR)
    assert server.stop() == 0


def with_session(wire: Start, program: str) -> Wire:
    """Start a server whose session is another program."""
    return wire(command=[sys.executable, "-c", FRONT.replace(repr(SABOTAGED), repr(program))])


def with_start(work: str) -> str:
    """Return a session's program that does some work in place of the protocol's import."""
    make = f"def make():\n    {work}\n    from starcoder_lsp.lsp.app import make_server\n    return make_server()\n"
    patch = "from starcoder_lsp.lsp import run, startup\nstartup.make_server_quickly = make\n"
    return f"import os\n{make}{patch}raise SystemExit(run.run_session())"


@pytest.mark.parametrize(
    ("program", "n_replies"),
    [("raise SystemExit(7)", 0), (with_start("os._exit(7)"), 1)],
    ids=["at once", "after its reply to initialize"],
)
def test_a_session_that_never_starts_ends_the_server(wire: Start, program: str, n_replies: int) -> None:
    server = with_session(wire, program)
    server.send(request(1, "initialize", {"capabilities": {}}))
    assert server.exit_code(timeout_s=60) == 1
    assert ["result" in message for message in server.rest() if message.get("id") == 1] == [True] * n_replies


def test_initialize_has_its_reply_before_the_session_has_started(wire: Start, tmp_path: Path) -> None:
    """Messages that the editor sends meanwhile are processed afterwards."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    server = with_session(wire, with_start(f"open({str(gate)!r}).read()"))
    server.start(QUICK)
    server.open(URI, CODE)
    server.send(request(1, "workspace/executeCommand", {"command": "starcoder.showStatus"}))
    with gate.open("w") as opened:
        opened.write("go")
    assert server.reply(1)["result"]["kind"] in ("loading", "ready")
    server.model_is_loaded()
    reply = server.call(2, "textDocument/inlineCompletion", completion_params(URI, *CURSOR))
    assert reply["result"]["items"]
    assert server.stop() == 0


def test_the_session_ends_with_the_front(wire: Start) -> None:
    """This holds even if it is in C code that never returns."""
    server = sabotaged(wire)
    server.open("file:///code/hang.py", "hang = 1\nx = \n")
    server.send(request(1, "textDocument/inlineCompletion", completion_params("file:///code/hang.py", 1, 4)))
    pidfd = os.pidfd_open(session_of(server))
    server.process.kill()
    server.process.wait()
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)


def test_the_last_writes_complete_on_a_slow_machine_too(wire: Start, tmp_path: Path) -> None:
    """The session should end within two seconds, but may not get the processor for as long."""
    written = tmp_path / "written"
    slow = SABOTAGED.replace(
        "raise SystemExit",
        "import time\nfrom pathlib import Path\nfrom starcoder_lsp.lsp.server import Server\nleave = Server.leave\n"
        f"Server.leave = lambda self: (time.sleep(2.5), Path({str(written)!r}).touch(), leave(self))\nraise SystemExit",
    )
    server = wire(command=[sys.executable, "-c", FRONT.replace(repr(SABOTAGED), repr(slow))])
    server.start(QUICK)
    server.call("is up", "workspace/executeCommand", {"command": "starcoder.showStatus"})
    server.send(request("bye", "shutdown"), notification("exit"))
    assert server.exit_code(timeout_s=60) == 0
    assert written.exists()


@pytest.mark.parametrize("last", [[notification("exit")], []], ids=["exit", "a closed pipe"])
def test_the_end_of_the_input_does_not_cut_the_last_writes_short(tmp_path: Path, last: list[object]) -> None:
    """Without a front; the input ends behind the last message, while the statistics are still being written."""
    written = tmp_path / "written"
    program = (
        "import asyncio\nfrom pathlib import Path\nfrom starcoder_lsp.lsp.run import run_session\n"
        "from starcoder_lsp.lsp.statistics import Statistics\n"
        "async def end(self):\n    await asyncio.sleep(1)\n"
        f"    Path({str(written)!r}).touch()\nStatistics.end = end\nrun_session()"
    )
    served = Wire(command=[sys.executable, "-c", program])
    served.start(QUICK)
    served.call("bye", "shutdown")
    served.send(*last)
    served.writer.close()
    assert served.exit_code(timeout_s=60) == 0
    assert written.exists()
