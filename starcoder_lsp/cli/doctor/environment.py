"""Checks of folders, settings and running hosts."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from starcoder_lsp import __version__
from starcoder_lsp.cli.doctor.check import ERROR, OK, WARNING, Check, counted, size
from starcoder_lsp.cli.doctor.facts import Facts, RunningHost
from starcoder_lsp.engine.host.ladder import WHAT_IT_COSTS, Caution


def check_folders(facts: Facts) -> Iterator[Check]:
    """Folders and whose they are. The one for sockets must be the user's alone."""
    folder = facts.runtime_path
    if facts.runtime_problem:
        advice = "Set XDG_RUNTIME_DIR to a folder that is yours."
        if folder.is_dir() and _is_own(folder):
            advice = f"Take it from the others:\nchmod 700 {shlex.quote(str(folder))}"
        yield Check("runtime folder", ERROR, facts.runtime_problem, advice)
    else:
        yield Check("runtime folder", OK, f"{folder}{_mode(folder)}")
    yield _folder("cache folder", facts.cache_path, 0o022, f", {size(n_bytes_in(facts.cache_path))}")
    if (facts.cache_path / "states").exists():  # source text can be read from them
        yield _folder("states on disk", facts.cache_path / "states", 0o077)
    yield _folder("state folder", facts.state_path, 0o022)
    yield _folder("config folder", facts.settings_path.parent, 0o022)


def _folder(name: str, folder: Path, too_much: int, more: str = "") -> Check:
    """A folder that need not be there. Others must not have the permissions `too_much`."""
    if not folder.exists():
        return Check(name, OK, f"{folder}, not there yet")
    path, found = shlex.quote(str(folder)), f"{folder}{_mode(folder)}{more}"
    if not _is_own(folder):
        return Check(name, WARNING, f"{found}, is not yours", f'Take it over:\nsudo chown -R "$(id -u)" {path}')
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check(name, WARNING, f"{found}, cannot be written to", f"Allow it:\nchmod u+rwx {path}")
    if hasattr(os, "getuid") and stat.S_IMODE(folder.stat().st_mode) & too_much:
        may = "read" if too_much & 0o044 else "write"
        taken = "go-rwx" if too_much & 0o044 else "go-w"
        return Check(name, WARNING, f"{found}, others may {may} there", f"Take it from them:\nchmod {taken} {path}")
    return Check(name, OK, found)


def _is_own(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()


def _mode(folder: Path) -> str:
    with suppress(OSError):
        return f", mode {stat.S_IMODE(folder.stat().st_mode):o}" if hasattr(os, "getuid") else ""
    return ""


def n_bytes_in(folder: Path) -> int:
    """The size of all files below a folder."""
    n_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                n_bytes += Path(parent, name).lstat().st_size
    return n_bytes


def check_settings(facts: Facts) -> Iterator[Check]:
    """The user's own settings. What an editor sends besides is not known here."""
    path = facts.settings_path
    if facts.file_problems:
        for problem in facts.file_problems:
            yield Check("settings", ERROR, problem, "Correct it; until then every setting in it is ignored.")
    elif facts.has_settings_file:
        yield Check("settings", OK, f"{path}; an editor may set others")
    else:
        yield Check("settings", OK, f"there is no {path}: all defaults, but for what an editor sets")
    for problem in facts.setting_problems:
        yield Check("settings", WARNING, problem, f"Correct it in {path}; `starcoder-lsp settings` lists all settings.")


def check_hosts(facts: Facts) -> Iterator[Check]:
    """The processes with a model that run, and what others have left behind."""
    for host in facts.hosts:
        yield _host(host)
    if not facts.hosts and not facts.runtime_problem:
        yield Check("model process", OK, "none runs; an editor starts one")
    if facts.gone:
        words = "".join(f"; {name} said last: {said}" for name, said in facts.gone.items() if said)
        removed = counted(len(facts.gone), "process that is gone", "processes that are gone")
        yield Check("left behind", OK, f"removed the files of {removed}{words}")


def _host(host: RunningHost) -> Check:
    """One process, as it told of itself."""
    if host.problem:
        advice = f"Restart the editors. If it stays so, end it:\npkill -f 'starcoder_lsp host {host.name}'"
        return Check("model process", WARNING, f"{host.name}: {host.problem}", advice)
    told = host.status
    if told.get("version") != __version__:
        found = f"process {told.get('processId')} is of version {told.get('version')}, and this is {__version__}"
        return Check("model process", WARNING, found, "Restart the editors that use it.")
    clients = [f"{client['name']} ({client['processId']})" for client in told.get("clients", ())]
    parts = [
        f"process {told.get('processId')}",
        "shared" if told.get("isShared") else "one server's own",
        str(told.get("state")),
        f"{told.get('prefillSpeed', 0):,.0f} tokens/s read",
        str(told.get("model")),
        f"{counted(len(clients), 'client', 'clients')}{': ' if clients else ''}{', '.join(clients)}",
    ]
    if told.get("gpuLayers"):
        parts.insert(4, f"{told['gpuLayers']} layers on a GPU")
    caution = told.get("caution", 0)
    if caution in WHAT_IT_COSTS and caution:
        parts.append(WHAT_IT_COSTS[Caution(caution)])
    return Check("model process", OK, ", ".join(parts))
