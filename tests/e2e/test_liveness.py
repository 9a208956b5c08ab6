"""A client notices the end of its server within a second, whenever and however the server ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from starcoder_lsp.lsp import client, client_connection
from starcoder_lsp.lsp.child import ServerEndedError
from starcoder_lsp.lsp.client import connect

from .conftest import CODE, CURSOR, ENVIRONMENT, EXIT_TIMEOUT_S, TIMEOUT_S, URI
from .test_bench import ANSWER, STUB, comparison, program, trace  # noqa: F401  the last is a fixture
from .test_cli import assert_refused

SABOTAGE = """
import os, signal, subprocess, sys, time
from starcoder_lsp.lsp.run import run_session
from starcoder_lsp.lsp.protocol import Protocol

moment, way, told = sys.argv[1:4]
del sys.argv[1:]
handle_message = Protocol.handle_message

def die(protocol):
    with open(told, "w") as file:
        file.write(str(time.monotonic()))
    if way == "exit":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
    if way == "orphan":
        protocol.writer._stream.flush()
        for fd in range(3, 20):
            try: os.set_inheritable(fd, True)
            except OSError: pass
        orphan = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], close_fds=False)
        with open(told + " orphan", "w") as file:
            file.write(str(orphan.pid))
        os._exit(4)
    if way == "nonsense":
        protocol.writer.write(b"Content-Length: 1\\r\\n\\r\\n{")
    if way == "cut":
        protocol.writer.write(b"Content-Length: 100\\r\\n\\r\\n{")
        protocol.writer.close()
    if way == "deaf":
        protocol.writer.close()
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}.get(way, 0))
    while True:
        signal.pause()

def sabotaged(self, message):
    if message.get("method") == moment:
        die(self)
    handle_message(self, message)

Protocol.handle_message = sabotaged
raise SystemExit(run_session())
"""
"""The real session without its front, which fails in a chosen way when a chosen message comes."""
SAID = {
    "kill": "the server ended: killed by SIGKILL",
    "exit": "the server ended: out of luck",
    "orphan": "the server ended: exit code 4",
    "deaf": "the server closed its standard output",
    "cut": "the server closed its standard output",
    "nonsense": "something that is no message",
}
MOMENTS = ("initialize", "initialized", "starcoder/metrics", "textDocument/didOpen", "textDocument/inlineCompletion")
Sabotage = Callable[[str, str], tuple[str, ...]]


@pytest.fixture
def end_file(tmp_path: Path) -> Path:
    """The file to which a sabotaged server writes the time of its end."""
    return tmp_path / "ended at"


@pytest.fixture
def sabotage(end_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sabotage]:
    def sabotage(moment: str, way: str) -> tuple[str, ...]:
        command = (sys.executable, "-c", SABOTAGE, moment, way, str(end_file))
        monkeypatch.setattr(client, "SERVER_COMMAND", command)
        return command

    yield sabotage
    orphan = Path(f"{end_file} orphan")
    if orphan.exists():
        os.kill(int(orphan.read_text()), signal.SIGKILL)


def since(end_file: Path) -> float:
    """Return the seconds since a sabotaged server ended."""
    return time.monotonic() - float(end_file.read_text())


async def session(folder: Path) -> None:
    async with connect({"debounce": {"mode": "off"}}, folder, env=ENVIRONMENT) as connected:
        connected.open(URI, "python", CODE)
        await connected.complete(URI, *CURSOR)


@pytest.mark.parametrize(
    ("moment", "way"),
    [*((moment, "kill") for moment in MOMENTS), *(("textDocument/inlineCompletion", way) for way in SAID)],
)
async def test_the_end_of_a_server_is_an_error_in_time(
    tmp_path: Path, end_file: Path, sabotage: Sabotage, moment: str, way: str
) -> None:
    sabotage(moment, way)
    async with asyncio.timeout(TIMEOUT_S):
        with pytest.raises(ServerEndedError, match=SAID[way]) as raised:
            await session(tmp_path)
    assert since(end_file) < EXIT_TIMEOUT_S
    assert "\n" not in str(raised.value)


async def test_a_server_that_ends_without_answering_the_shutdown_has_ended(
    tmp_path: Path, end_file: Path, sabotage: Sabotage
) -> None:
    sabotage("shutdown", "kill")
    await session(tmp_path)
    assert since(end_file) < EXIT_TIMEOUT_S


async def test_a_server_that_does_not_answer_initialize_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SERVER_COMMAND", (sys.executable, "-c", "import signal; signal.pause()"))
    monkeypatch.setattr(client_connection, "SILENCE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(client_connection, "EXIT_TIMEOUT_S", 0.1)
    with pytest.raises(ServerEndedError, match="has sent nothing for 1 s"):
        await session(tmp_path)


async def test_a_stopped_server_does_not_block_the_client(
    tmp_path: Path, end_file: Path, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage("shutdown", "stop")
    monkeypatch.setattr(client_connection, "EXIT_TIMEOUT_S", 0.1)
    await session(tmp_path)
    assert since(end_file) < EXIT_TIMEOUT_S


async def test_no_request_waits_for_a_server_that_ended(tmp_path: Path) -> None:
    """Requests that wait when it ends, requests right after that, and requests much later."""
    async with connect({}, tmp_path, env=ENVIRONMENT) as connected:
        connected.open(URI, "python", CODE)
        waiting = [asyncio.ensure_future(connected.complete(URI, *CURSOR)) for _ in range(3)]
        pidfd = os.pidfd_open(connected.process_id)
        os.kill(connected.process_id, signal.SIGKILL)
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, gone.set)
        await gone.wait()
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        started = time.monotonic()
        right_after = connected.metrics()
        for request in (*waiting, right_after, connected.metrics(), connected.complete(URI, *CURSOR)):
            await assert_ended(request)
        assert time.monotonic() - started < EXIT_TIMEOUT_S
        connected.insert(URI, 0, 0, "x" * 10_000_000)  # its result is not used
        await assert_ended(connected.metrics())
    await assert_ended(connected.metrics())


async def assert_ended(request: Awaitable[object]) -> None:
    with pytest.raises(ServerEndedError, match="killed by SIGKILL"):
        await request


async def test_much_text_on_standard_error_does_not_block_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chatty = "import sys; sys.stderr.write('x' * 2**20 + '\\nlast'); from starcoder_lsp.cli import main; main()"
    monkeypatch.setattr(client, "SERVER_COMMAND", (sys.executable, "-c", chatty))
    await session(tmp_path)


@pytest.mark.parametrize(
    ("command", "said"),
    [(("/no/such/program",), "No such file"), ((__file__,), "Permission denied"), ((sys.executable, "-c", ""), "exit")],
)
async def test_a_program_that_is_no_server_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(client, "SERVER_COMMAND", command)
    with pytest.raises(ServerEndedError, match=said):
        await session(tmp_path)


# The commands

COMMANDS = ("demo", "replay", "compare")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("moment", "way"), [("never", ""), ("textDocument/inlineCompletion", "kill")])
def test_commands_report_the_end_of_the_server_in_one_line(
    trace: Path,  # noqa: F811  the fixture
    tmp_path: Path,
    sabotage: Sabotage,
    command: str,
    moment: str,
    way: str,
) -> None:
    (tmp_path / "example.py").write_text(CODE)
    arguments = {
        "demo": ("demo", f"{tmp_path}/example.py:1"),
        "replay": ("bench", "replay", str(trace)),
        "compare": comparison(trace, program(tmp_path, STUB.replace("REPLY", ANSWER))),
    }[command]
    server = ("/no/such/program",) if moment == "never" else sabotage(moment, way)
    script = (
        "import starcoder_lsp.lsp.client as client, starcoder_lsp.cli as cli\n"
        f"client.SERVER_COMMAND = {server!r}\n"
        "raise SystemExit(cli.main())\n"
    )
    ran = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", script, *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if command == "demo":  # it has written the line that announces the step
        ran.stdout = b""
    assert_refused(ran, "cannot be started" if moment == "never" else SAID[way])
