"""Commands that are started with closed standard streams, as by a shell's `2>&-`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CODE, CURSOR, ENVIRONMENT, SERVER, TIMEOUT_S, URI, Start, Wire, notification, request

MODULE = f"exec '{sys.executable}' -m starcoder_lsp"
COMMANDS = (
    "settings",
    "--help",
    "--version",
    "complete example.py:5:24",
    "explain example.py:5:24 --json",
    "demo example.py:1",
    "complete missing.py:1:1",
    "bench replay missing.json",
    "no-such-command",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "example.py").write_text(CODE)
    return tmp_path


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603  our own program
        ["/bin/sh", "-c", line], cwd=folder, env=ENVIRONMENT, capture_output=True, check=False, timeout=TIMEOUT_S
    )


def without_times(ran: subprocess.CompletedProcess[bytes], command: str) -> tuple[int, object]:
    timed = command.startswith(("demo", "explain"))
    return ran.returncode, ran.stdout.count(b"\n") if timed else ran.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_work_without_standard_input_and_error(folder: Path, command: str) -> None:
    usual = shell(f"{MODULE} {command}", folder)
    for closed in ("2>&-", "2>&- <&-", "2>/dev/full"):
        ran = shell(f"{MODULE} {command} {closed}", folder)
        assert without_times(ran, command) == without_times(usual, command), closed
        assert ran.stderr == b""


@pytest.mark.parametrize("command", ["", "--stdio", *COMMANDS])
def test_every_command_ends_without_standard_output(folder: Path, command: str) -> None:
    ran = shell(f"{MODULE} {command} >&-", folder)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr == b"starcoder-lsp: standard output is closed\n"
    ran = shell(f"{MODULE} {command} >&- 2>&-", folder)
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, b"", b"")


@pytest.mark.parametrize("closed", ["<&-", "<&- 2>&-"])
def test_a_server_needs_standard_input(folder: Path, closed: str) -> None:
    ran = shell(f"{MODULE} {closed}", folder)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr == (b"" if "2>" in closed else b"starcoder-lsp: standard input is closed\n")


NOISY = """
import ctypes, os
from starcoder_lsp.cli import reopen_closed_streams
from starcoder_lsp.lsp.run import run_session
from starcoder_lsp.session.open_documents import OpenDocuments

open_document = OpenDocuments.open

def noisy(self, *arguments):
    print("from Python", flush=True)
    for fd in (1, 2):
        os.write(fd, b"as from C")
    open_document(self, *arguments)

OpenDocuments.open = noisy
reopen_closed_streams()
raise SystemExit(run_session())
"""


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/null"])
def test_standard_output_has_messages_only(wire: Start, tmp_path: Path, closed: str) -> None:
    script = tmp_path / "noisy.py"
    script.write_text(NOISY)
    server = wire(command=["/bin/sh", "-c", f"exec '{sys.executable}' '{script}' {closed}"])
    server.start()
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"]["items"]
    if sys.platform == "linux":
        null = Path(os.devnull)
        assert all(Path(f"/proc/{server.process.pid}/fd/{fd}").samefile(null) for fd in (1, 2))
    assert server.stop() == 0
    server.rest()


def test_a_server_on_tcp_needs_no_standard_stream(wire: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = wire(command=["/bin/sh", "-c", f"{MODULE} --tcp 127.0.0.1:{port} <&- >&- 2>&-"])
    with connected(server, port) as connection:
        server.over(connection.makefile("rb"), connection.makefile("wb"))
        server.start()
        server.model_is_loaded()
        server.open(URI, CODE)
        assert server.complete(1, URI, *CURSOR)["result"]["items"]
        server.send(request(2, "shutdown"), notification("exit"))
        assert server.exit_code() == 0


def connected(server: Wire, port: int) -> socket.socket:
    """Connect as soon as the server listens; without standard error it cannot report that."""
    while server.process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        except ConnectionRefusedError:
            pass
    return pytest.fail("the server ended")


def test_the_children_of_a_command_have_all_three_streams(folder: Path) -> None:
    """Otherwise the first file that a child opens would become its standard error."""
    script = (
        "import subprocess, sys\n"
        "from starcoder_lsp.cli import reopen_closed_streams\n"
        "reopen_closed_streams()\n"
        "look = 'import os; [os.fstat(fd) for fd in range(3)]'\n"
        "raise SystemExit(subprocess.run([sys.executable, '-c', look]).returncode)\n"
    )
    (folder / "parent.py").write_text(script)
    assert shell(f"exec '{SERVER[0]}' parent.py <&- >&- 2>&-", folder).returncode == 0
