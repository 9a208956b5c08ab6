"""The checks of running hosts, editors, `PATH` and folders."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from filelock import FileLock

from starcoder_lsp.cli.doctor.check import OK, WARNING, Check
from starcoder_lsp.cli.doctor.editors import check_editors, check_path
from starcoder_lsp.cli.doctor.environment import check_folders, check_hosts, check_settings
from starcoder_lsp.cli.doctor.facts import Facts, Places, RunningHost
from starcoder_lsp.cli.doctor.gather import _find_hosts
from starcoder_lsp.cli.doctor.report import _lines
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.address import Address, is_alive
from starcoder_lsp.engine.host.launch import HostConnection, HostProcess, inquire, join
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.model_file import check_model_file
from starcoder_lsp.settings import HostSettings, Settings
from tests.unit.doctor.machine import MIB, one


def test_a_host_that_does_not_answer_is_a_warning(facts: Facts, runtime: Path) -> None:
    with FileLock(runtime / "mute.lock"), socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(runtime / "mute.sock"))
        mute.listen()
        hosts, gone, problem = _find_hosts()
    assert (gone, problem) == ({}, "")
    (check,) = check_hosts(evolve(facts, hosts=hosts))
    assert check.state == WARNING
    assert "does not answer within" in check.found
    assert "starcoder_lsp host mute" in check.advice


async def test_an_inquiry_leaves_a_host_unchanged(runtime: Path) -> None:
    model = check_model_file(DEMONSTRATOR)
    options = HostOptions.of(Settings(host=HostSettings(shared=False)), model)
    address = Address.of("one-of-its-own", "auto")
    process = HostProcess.start(options, address)
    try:
        assert await process.listens()
        for _ in range(3):
            status = await inquire(Address.known(runtime, "one-of-its-own"))
            assert status["clients"] == []
        host = await join(options, address, "a client")
        assert isinstance(host, HostConnection)
        status = await inquire(address)
        assert [client["name"] for client in status["clients"]] == ["a client"]
        assert status["state"] in {"loading", "ready"}
        host.close()
        await process.exit_code()
        assert not is_alive(runtime, "one-of-its-own")
    finally:
        process.process.kill()


async def test_an_inquiry_gets_no_answer_but_the_status(runtime: Path) -> None:
    settings = Settings(host=HostSettings(shared=False, transport="port"))
    options = HostOptions.of(settings, check_model_file(DEMONSTRATOR))
    address = Address.of("talkative", "port")
    process = HostProcess.start(options, address)
    try:
        assert await process.listens()
        assert (await inquire(Address.known(runtime, "talkative")))["processId"] == process.process.pid
        reader, writer, _ = await address.connect()
        writer.write(wire.framed(wire.Inquiry("not the secret")) + wire.framed(wire.Status(1)))
        assert isinstance(await wire.read_from_host(reader), wire.Refused)
        assert await wire.read_from_host(reader) is None
        reader, writer, secret = await address.connect()
        writer.write(wire.framed(wire.Inquiry(secret)) + wire.framed(wire.Score(1, [0], b"", [0])))
        assert isinstance(await wire.read_from_host(reader), wire.Done)
        assert await wire.read_from_host(reader) is None
    finally:
        process.process.kill()
        await asyncio.sleep(0)


def test_a_host_of_another_version_is_a_warning(facts: Facts) -> None:
    told = RunningHost("x", {"version": "0.0.9", "processId": 7, "clients": None})
    (check,) = check_hosts(evolve(facts, hosts=(told,)))
    assert check.state == WARNING
    assert "0.0.9" in check.found


def test_a_check_that_lacks_a_permission_is_a_warning(facts: Facts) -> None:
    def check_something(_facts: Facts) -> Iterator[Check]:
        yield Check("first", OK, "seen")
        raise PermissionError(13, "Permission denied", "/some/folder")

    first, second = _lines(check_something, facts)
    assert first.name == "first"
    assert (second.name, second.state) == ("something", WARNING)
    assert "/some/folder" in second.found


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


HELIX = """
[language-server.starcoder]
command = "{command}"
[[language]]
name = "rust"
language-servers = ["rust-analyzer", "starcoder"]
[[language]]
name = "go"
language-servers = [{{ name = "starcoder", only-features = ["completion"] }}]
"""


SETTING_UP: list[tuple[str, Callable[[Path], None]]] = [
    ("Neovim", lambda home: written(home / ".config/nvim/lua/plugins/ai.lua", "vim.g.starcoder = {}")),
    ("Helix", lambda home: written(home / ".config/helix/languages.toml", HELIX.format(command=sys.executable))),
    ("Emacs", lambda home: written(home / ".emacs", '(load "~/starcoder-lsp/editor-configs/emacs/starcoder.el")')),
    ("VS Code", lambda home: written(home / ".vscode/extensions/starcoder-lsp.starcoder-lsp-0.1.0/package.json", "{}")),
    ("VSCodium", lambda home: written(home / ".vscode-oss/extensions/starcoder-lsp.starcoder-lsp/package.json", "{}")),
    ("code-server", lambda home: written(home / ".local/share/code-server/extensions/x.starcoder-lsp/p.json", "{}")),
]


@pytest.mark.parametrize(("editor", "set_up"), SETTING_UP)
def test_it_finds_editors_that_are_set_up(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editor: str, set_up: Callable[[Path], None]
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    there = evolve(facts, places=Places(home=tmp_path))
    assert one(check_editors(there), "editors").state == WARNING
    written(tmp_path / ".config/nvim/init.lua", "-- nothing")
    set_up(tmp_path)
    lines = list(check_editors(there))
    assert one(iter(lines), editor).found.startswith("set up")
    others = {line.name for line in lines if line.found == "not set up"}
    assert others == {"Neovim", "Helix", "Emacs", "VS Code"} - {editor}
    assert not any(line.name == "editors" for line in lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[language-server.starcoder", "cannot be understood"),
        ('language-server = "starcoder"', "cannot be understood"),
        ('[language-server.starcoder]\ncommand = "no-such-program"', "no-such-program"),
        (f'[language-server.starcoder]\ncommand = "{sys.executable}"', "no language that uses it"),
        ('[language-server]\nstarcoder = "starcoder-lsp"', "cannot be understood"),
        ('[[language]]\nname = "go"\nlanguage-servers = ["starcoder"]', "has no server"),
    ],
)
def test_a_faulty_helix_configuration_is_a_warning(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    written(tmp_path / ".config/helix/languages.toml", text)
    check = one(check_editors(evolve(facts, places=Places(home=tmp_path))), "Helix")
    assert check.state == WARNING
    assert words in check.found


@pytest.mark.parametrize("value", ["1", "true", '"starcoder"', '["starcoder"]', "[1]", "{}", "{ starcoder = 1 }"])
@pytest.mark.parametrize(
    "form",
    [
        "language-server = {}",
        "[language-server]\nstarcoder = {}",
        "[language-server.starcoder]\ncommand = {}",
        "[language-server.starcoder]\ncommand = 'sh'\n[language]\ngo = {}",
        "language = {}\n[language-server.starcoder]\ncommand = 'sh'",
        "[language-server.starcoder]\ncommand = 'sh'\n[[language]]\nname = {}\nlanguage-servers = ['starcoder']",
        "[language-server.starcoder]\ncommand = 'sh'\n[[language]]\nname = 'go'\nlanguage-servers = {}",
    ],
)
def test_a_value_of_any_type_in_helixs_configuration_is_no_crash(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, value: str
) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    written(tmp_path / ".config/helix/languages.toml", f"# starcoder\n{form.format(value)}")
    check = one(check_editors(evolve(facts, places=Places(home=tmp_path))), "Helix")
    assert check.found != "not set up"


def test_the_program_is_looked_up_on_the_path(facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> tuple[str, bool]:
        (check,) = check_path(facts)
        return check.state, "another one" in check.found

    monkeypatch.setenv("PATH", str(tmp_path))
    assert found() == (WARNING, False)
    script = tmp_path / "starcoder-lsp"
    written(script, "#!/bin/sh\nexec something\n")
    script.chmod(0o755)
    assert found() == (WARNING, True)
    written(script, f"#!{sys.executable}\nimport sys\n")
    assert found() == (OK, False)
    script.unlink()
    own = Path(sys.executable).parent / "starcoder-lsp"
    script.symlink_to(own)  # as pipx installs it
    if own.exists():
        assert found() == (OK, False)


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        (Settings(), {}),
        (Settings(enabled=False, trigger="invoked"), {"suggestions": "warning"}),
        (Settings(trigger="invoked"), {"suggestions": "ok"}),
        (Settings(languages=("python", "c")), {"languages": "ok"}),
    ],
)
def test_settings_that_leave_out_suggestions_are_reported(
    facts: Facts, settings: Settings, reported: dict[str, str]
) -> None:
    lines = {line.name: line.state for line in check_settings(evolve(facts, settings=settings))}
    assert lines == {"settings": "ok"} | reported


def test_folders_with_permissions_for_others_are_reported(facts: Facts, tmp_path: Path) -> None:
    cache, state = tmp_path / "it's a cache", tmp_path / "state"
    written(cache / "states" / "a.kv", "x" * 3 * MIB)
    state.mkdir()
    (cache / "states").chmod(0o755)
    state.chmod(0o722)
    lines = list(check_folders(evolve(facts, cache_path=cache, state_path=state)))
    assert "3 MiB" in one(iter(lines), "cache folder").found
    for name, folder in (("states on disk", cache / "states"), ("state folder", state)):
        check = one(iter(lines), name)
        assert check.state == WARNING
        subprocess.run(["/bin/sh", "-c", check.advice.splitlines()[-1]], check=True)  # noqa: S603
        assert folder.stat().st_mode & 0o077 == 0
    lines = list(check_folders(evolve(facts, cache_path=cache, state_path=state)))
    assert {one(iter(lines), name).state for name in ("cache folder", "states on disk", "state folder")} == {OK}


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_reported(facts: Facts, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    check = one(check_folders(evolve(facts, state_path=tmp_path)), "state folder")
    tmp_path.chmod(0o700)
    assert check.state == WARNING
    assert "cannot be written to" in check.found
