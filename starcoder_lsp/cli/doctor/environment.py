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
from starcoder_lsp.printable import printable


def check_folders(facts: Facts) -> Iterator[Check]:
    """Check owners and permissions of folders. The folder for sockets must be accessible to the user alone."""
    folder = facts.runtime_path
    if facts.runtime_problem:
        advice = "Set XDG_RUNTIME_DIR to a folder that you own."
        if folder.is_dir() and _is_own(folder):
            advice = f"Make it private:\nchmod 700 {shlex.quote(str(folder))}"
        yield Check("runtime folder", ERROR, facts.runtime_problem, advice)
    else:
        yield Check("runtime folder", OK, f"{folder}{_mode(folder)}")
    yield _folder("cache folder", facts.cache_path, 0o022, f", {size(n_bytes_in(facts.cache_path))}")
    if (facts.cache_path / "states").exists():  # they contain source text
        yield _folder("states on disk", facts.cache_path / "states", 0o077)
    yield _folder("state folder", facts.state_path, 0o022)
    yield _folder("config folder", facts.settings_path.parent, 0o022)


def _folder(name: str, folder: Path, forbidden_mode: int, more: str = "") -> Check:
    """Check a folder that need not exist. Others must not have the permissions in `forbidden_mode`."""
    if not folder.exists():
        return Check(name, OK, f"{folder}, does not exist yet")
    path, found = shlex.quote(str(folder)), f"{folder}{_mode(folder)}{more}"
    if not _is_own(folder):
        return Check(
            name, WARNING, f"{found}, is not owned by you", f'Become its owner:\nsudo chown -R "$(id -u)" {path}'
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check(name, WARNING, f"{found}, cannot be written to", f"Make it writable:\nchmod u+rwx {path}")
    if hasattr(os, "getuid") and stat.S_IMODE(folder.stat().st_mode) & forbidden_mode:
        access = "read" if forbidden_mode & 0o044 else "write to"
        mode = "go-rwx" if forbidden_mode & 0o044 else "go-w"
        return Check(name, WARNING, f"{found}, others may {access} it", f"Make it private:\nchmod {mode} {path}")
    return Check(name, OK, found)


def _is_own(folder: Path) -> bool:
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()


def _mode(folder: Path) -> str:
    with suppress(OSError):
        return f", mode {stat.S_IMODE(folder.stat().st_mode):o}" if hasattr(os, "getuid") else ""
    return ""


def n_bytes_in(folder: Path) -> int:
    """Return the size of all files below a folder."""
    n_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                n_bytes += Path(parent, name).lstat().st_size
    return n_bytes


def check_settings(facts: Facts) -> Iterator[Check]:
    """Check the user's settings file. Settings that an editor sends are not known here."""
    path = facts.settings_path
    if facts.file_problems:
        for problem in facts.file_problems:
            yield Check("settings", ERROR, problem, "Correct the file; until then all of it is ignored.")
    elif facts.has_settings_file:
        yield Check("settings", OK, f"{path}; an editor may set others")
    else:
        yield Check("settings", OK, f"{path} does not exist: all defaults, except what an editor sets")
    for problem in facts.setting_problems:
        yield Check("settings", WARNING, problem, f"Correct it in {path}; `starcoder-lsp settings` lists all settings.")
    if not facts.settings.enabled:
        advice = f"Remove `enabled = false` from {path}, or run starcoder.toggle in the editor."
        yield Check("suggestions", WARNING, "turned off", advice)
    elif facts.settings.trigger != "automatic":
        yield Check("suggestions", OK, 'only when you request them: trigger = "invoked"')
    if facts.settings.languages:
        yield Check("languages", OK, f"only {', '.join(map(printable, facts.settings.languages))}")


def check_hosts(facts: Facts) -> Iterator[Check]:
    """Check running hosts, and report hosts that ended without removing their files."""
    for host in facts.hosts:
        yield _host(host)
    if not facts.hosts and not facts.runtime_problem:
        yield Check("model process", OK, "none runs; an editor starts one when it needs it")
    if facts.ended:
        words = "".join(f"; {name} said last: {said}" for name, said in facts.ended.items() if said)
        removed = counted(len(facts.ended), "ended process", "ended processes")
        yield Check("left behind", OK, f"removed the files of {removed}{words}")


def _host(host: RunningHost) -> Check:
    """Check one host by its status."""
    if host.problem:
        advice = f"Restart the editors. If that does not help, end it:\npkill -f 'starcoder_lsp host {host.name}'"
        return Check("model process", WARNING, f"{host.name}: {host.problem}", advice)
    status = host.status
    if status.get("version") != __version__:
        found = (
            f"process {status.get('processId')} is of version {status.get('version')}, this program of {__version__}"
        )
        return Check("model process", WARNING, found, "Restart the editors that use it.")
    clients = [f"{client['name']} ({client['processId']})" for client in status.get("clients", ())]
    parts = [
        f"process {status.get('processId')}",
        "shared" if status.get("isShared") else "not shared",
        str(status.get("state")),
        f"{status.get('prefillSpeed', 0):,.0f} tokens/s prefill",
        str(status.get("model")),
        f"{counted(len(clients), 'client', 'clients')}{': ' if clients else ''}{', '.join(clients)}",
    ]
    if status.get("gpuLayers"):
        parts.insert(4, f"{status['gpuLayers']} layers on a GPU")
    caution = status.get("caution", 0)
    if caution in WHAT_IT_COSTS and caution:
        parts.append(WHAT_IT_COSTS[Caution(caution)])
    return Check("model process", OK, ", ".join(parts))
