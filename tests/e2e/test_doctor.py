"""The command `starcoder-lsp doctor`, on machines with faults."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from attrs import define

from starcoder_lsp.engine.host.address import Address, is_alive, known_names
from starcoder_lsp.engine.host.ladder import Caution, LadderFile
from starcoder_lsp.engine.host.rebuild import rebuild_command
from starcoder_lsp.engine.loading import DEMONSTRATOR

from .conftest import ENVIRONMENT, ROOT, SERVER, SETTINGS, TIMEOUT_S, Start

Line = dict[str, str]


@define
class Machine:
    """A home folder, and the doctor's report about it."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        names = ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME")
        return {name: str(self.home) for name in names}

    @property
    def runtime(self) -> Path:
        return self.home / "starcoder-lsp"

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  our own program
            [*SERVER, "doctor", *arguments],
            env={**ENVIRONMENT, **self.environment, **env},
            capture_output=True,
            check=False,
            text=True,
            timeout=TIMEOUT_S,
        )

    def report(self, *arguments: str, code: int = 0, **env: str) -> list[Line]:
        ran = self.run("--json", *arguments, **env)
        assert (ran.returncode, ran.stderr) == (code, ""), ran
        told: dict[str, Any] = json.loads(ran.stdout)
        lines: list[Line] = told["checks"]
        assert all(line.keys() == {"name", "state", "found", "advice"} for line in lines)
        assert all(line["advice"] for line in lines if line["state"] != "ok")
        assert code == any(line["state"] == "error" for line in lines)
        return lines


@pytest.fixture
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="slsp-") as name:
        made = Machine(Path(name))
        made.runtime.mkdir(mode=0o700)
        yield made


def line_of(lines: list[Line], name: str) -> Line:
    (line,) = [line for line in lines if line["name"] == name]
    return line


def test_a_machine_without_faults(machine: Machine) -> None:
    lines = machine.report()
    assert "it can be loaded" in line_of(lines, "llama.cpp")["found"]
    assert "demonstrator" in line_of(lines, "model")["found"]
    ran = machine.run()
    assert (ran.returncode, ran.stderr) == (0, "")
    for line in lines:
        assert f"{line['state']:9}{line['name']:18}" in ran.stdout
    assert ran.stdout.endswith("warnings\n")


def test_the_option_speed_measures_the_model(machine: Machine) -> None:
    lines = machine.report("--speed")
    assert all(line["state"] == "ok" or "carefully" in line["found"] for line in lines if line["name"] == "speed")
    assert any("tokens/s" in line["found"] for line in lines if line["name"] == "speed")
    assert "of 1,920 tokens" in line_of(lines, "prompt")["found"]
    assert not list(known_names(machine.runtime))


def test_a_damaged_model_file_is_reported(machine: Machine) -> None:
    model = machine.home / "cut.gguf"
    model.write_bytes(DEMONSTRATOR.read_bytes()[:-1000])
    for more in ((), ("--speed",)):
        line = line_of(machine.report("--model", str(model), *more, code=1), "model")
        assert line["state"] == "error"
        assert str(model) in line["found"]
        assert "cut off" in line["found"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n", "SIGILL"),
        ("raise RuntimeError('Failed to load shared library: libgomp.so.1')\n", "libgomp.so.1"),
    ],
)
def test_a_library_that_crashes_at_load_is_reported(machine: Machine, code: str, words: str) -> None:
    package = machine.home / "fake" / "llama_cpp"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "llama_cpp.py").write_text(code)
    line = line_of(machine.report("--speed", code=1, PYTHONPATH=f"{package.parent}{os.pathsep}{ROOT}"), "llama.cpp")
    assert line["state"] == "error"
    assert words in line["found"]
    assert line["advice"].endswith(rebuild_command().rpartition("CMAKE_ARGS=")[2])


def test_a_folder_for_sockets_with_permissions_for_others_is_reported(machine: Machine) -> None:
    machine.runtime.chmod(0o755)
    line = line_of(machine.report(code=1), "runtime folder")
    assert line["state"] == "error"
    subprocess.run(["/bin/sh", "-c", line["advice"].splitlines()[-1]], check=True)  # noqa: S603  our own line
    assert line_of(machine.report(), "runtime folder")["state"] == "ok"


def test_forget_crashes_forgets_recorded_crashes(machine: Machine) -> None:
    ladder = LadderFile(machine.home / "starcoder-lsp" / "ladder.json")
    crash = {"stage": "warming up", "how": "it was ended by SIGSEGV", "words": ""}
    ladder.remember("starcoder2", Caution.PLAIN_WEIGHTS, crash=crash)
    line = line_of(machine.report(), "crashes")
    assert line["state"] == "warning"
    assert "starcoder2 model while it was warming up (it was ended by SIGSEGV)" in line["found"]
    assert ladder.entry("starcoder2")["crash"]["at"] in line["found"]
    command = line["advice"].splitlines()[-1].split()
    lines = machine.report(*command[2:])
    assert "1 remembered crash;" in line_of(lines, "forgotten")["found"]
    assert line_of(machine.report(), "crashes")["state"] == "ok"
    assert "0 remembered crashes" in line_of(machine.report(*command[2:]), "forgotten")["found"]


def test_running_hosts_and_their_clients_are_listed(machine: Machine, wire: Start) -> None:
    (machine.runtime / "starcoder-lsp.toml").write_text("[host]\nshared = true\nidleMinutes = 0\n")
    server = wire(env=machine.environment)
    server.start(SETTINGS)
    server.model_is_loaded()
    for _ in range(2):  # an inquiry does not count as a client
        line = line_of(machine.report(), "model process")
        assert line["state"] == "ok"
        assert "1 client: " in line["found"]
        (session,) = re.findall(
            r"\((\d+)\)$", line["found"]
        )  # the client is the session, a child of the server's front
        assert psutil.Process(int(session)).ppid() == server.process.pid
        assert str(DEMONSTRATOR) in line["found"]
    assert "has the model already" in line_of(machine.report(), "memory")["found"]
    assert server.stop() == 0
    while any(is_alive(machine.runtime, name) for name in known_names(machine.runtime)):
        pass
    assert "none runs" in line_of(machine.report(), "model process")["found"]


def test_files_of_a_killed_host_are_reported(machine: Machine) -> None:
    address = Address(machine.runtime, "0123456789abcdef", "socket")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(address.path(".sock")))
    address.path(".lock").touch(0o600)
    address.log.write_text("loading\nGGML_ASSERT(n_tokens > 0) failed\n")
    line = line_of(machine.report(), "left behind")
    assert line["state"] == "ok"
    assert "0123456789abcdef said last: GGML_ASSERT(n_tokens > 0) failed" in line["found"]
    assert not list(machine.runtime.glob("0123*"))
    assert not any(line["name"] == "left behind" for line in machine.report())


@pytest.mark.parametrize(
    ("text", "states", "code"),
    [
        ("[completion\n", {"error"}, 1),
        ("[completion]\nmaxTokens = 'many'\nmaxTokenz = 3\n", {"ok", "warning"}, 0),
        ("[model]\npath = '/no/such.gguf'\n", {"ok"}, 1),
    ],
)
def test_faulty_settings_are_reported(machine: Machine, text: str, states: set[str], code: int) -> None:
    (machine.runtime / "starcoder-lsp.toml").write_text(text)
    lines = [line for line in machine.report(code=code) if line["name"] == "settings"]
    assert {line["state"] for line in lines} == states
    assert len(lines) == (3 if "maxTokenz" in text else 1)


def test_editors_and_the_program_on_the_path_are_reported(machine: Machine) -> None:
    init = machine.home / "nvim" / "init.lua"
    init.parent.mkdir()
    init.write_text("vim.opt.runtimepath:append('~/starcoder-lsp/editor-configs/neovim')\n")
    extension = machine.home / ".vscode" / "extensions" / "starcoder-lsp.starcoder-lsp-0.1.0"
    extension.mkdir(parents=True)
    lines = machine.report(PATH="/no/such/folder")
    assert str(init) in line_of(lines, "Neovim")["found"]
    assert str(extension) in line_of(lines, "VS Code")["found"]
    assert line_of(lines, "Helix")["found"] == "not set up"
    assert line_of(lines, "on the path")["state"] == "warning"
