"""Whether editors find the program, and which of them are set up for it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from starcoder_lsp.cli.doctor.check import OK, WARNING, Check, counted
from starcoder_lsp.cli.doctor.facts import Facts

PROGRAM = "starcoder-lsp"
NAME = b"starcoder"
"""Stands in every configuration that is for this program."""
MAX_FILES = 500
"""Files of an editor's configuration that are read; what is in its folders of packages is not among them."""
MAX_BYTES = 256 * 1024
N_LINES_OF_A_SCRIPT = 3
"""Lines in which pip names the interpreter: a long path does not fit the first one."""
NOT_CONFIGURATION = {".git", "pack", "plugged", "bundle", "node_modules", "spell", "undo"}
EMACS_FILES = (".emacs", ".emacs.el", ".emacs.d/init.el", ".config/emacs/init.el", ".config/doom/config.el")
VS_CODE_FOLDERS = {
    "VS Code": (".vscode", ".vscode-server", ".vscode-insiders"),
    "VSCodium": (".vscode-oss", ".vscodium-server"),
    "code-server": (".local/share/code-server",),
    "Cursor": (".cursor", ".cursor-server"),
}


def check_path(_facts: Facts) -> Iterator[Check]:
    """Whether `starcoder-lsp` is on the path, and is the program that makes this report."""
    found, own_folder = shutil.which(PROGRAM), Path(sys.executable).parent
    if found is None:
        advice = "Name it by its whole path in the editor's configuration, or put it on the path"
        if (own_folder / PROGRAM).exists():
            line = f"export PATH={shlex.quote(str(own_folder))}:$PATH"
            advice = f"{advice}, in the file that your shell reads at its start:\n{line}"
        yield Check("on the path", WARNING, f"editors do not find `{PROGRAM}`", advice)
    elif is_this_program(Path(found)):
        yield Check("on the path", OK, found)
    else:
        advice = "Editors start that one. See which comes first:\ntype -a starcoder-lsp"
        yield Check("on the path", WARNING, f"{found}, which is another one than this", advice)


def is_this_program(script: Path) -> bool:
    """Whether a script on the path runs this interpreter: by its folder, or by its first lines."""
    own = Path(sys.executable)
    if script.resolve().parent == own.parent.resolve():
        return True
    with suppress(OSError), script.open("rb") as file:
        return any(os.fsencode(own) in line for line in file.read(1024).splitlines()[:N_LINES_OF_A_SCRIPT])
    return False


def check_editors(facts: Facts) -> Iterator[Check]:
    """Which editors are set up."""
    checks = [
        _named("Neovim", _neovim_files(facts.places.home)),
        _helix(_config_home(facts.places.home) / "helix" / "languages.toml"),
        _named("Emacs", (facts.places.home / name for name in EMACS_FILES)),
        *_vs_code(facts.places.home),
    ]
    yield from checks
    if all(check.found.startswith("not set up") for check in checks):
        yield Check("editors", WARNING, "none is set up", "The folder editor-configs/ says how; a minute of copying.")


def _config_home(home: Path) -> Path:
    """Where programs other than this one keep their configuration."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")


def _named(editor: str, files: Iterable[Path]) -> Check:
    """An editor that is set up if a file of its configuration names this program."""
    for path in islice(files, MAX_FILES):
        if NAME in _start_of(path):
            return Check(editor, OK, f"set up in {path}")
    return Check(editor, OK, "not set up")


def _start_of(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(MAX_BYTES)
    return b""


def _neovim_files(home: Path) -> Iterator[Path]:
    """The files of Neovim's configuration, those at the top first."""
    for parent, folders, names in os.walk(_config_home(home) / "nvim"):
        folders[:] = sorted(set(folders) - NOT_CONFIGURATION)
        yield from (Path(parent, name) for name in sorted(names) if name.endswith((".lua", ".vim")))


def _helix(path: Path) -> Check:
    """Helix: the server, and the languages that have it."""
    text = _start_of(path)
    if NAME not in text:
        return Check("Helix", OK, "not set up")
    try:
        table = tomllib.loads(text.decode())
        servers = {
            name: server for name, server in table["language-server"].items() if NAME.decode() in f"{name} {server}"
        }
        languages = [
            row["name"] for row in table.get("language", ()) if _names(row.get("language-servers", ())) & set(servers)
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return Check("Helix", WARNING, f"{path} cannot be understood ({error})", "Correct it; Helix ignores it all.")
    for name, server in servers.items():
        if shutil.which(str(server.get("command", ""))) is None:
            found = f"{path}: the command of {name} is not there: {server.get('command')}"
            return Check("Helix", WARNING, found, "Name the program by its whole path there.")
    if not languages:
        advice = 'Put "starcoder" at the end of the `language-servers` of each language.'
        return Check("Helix", WARNING, f"{path} has the server, and no language that uses it", advice)
    return Check("Helix", OK, f"set up in {path} for {counted(len(languages), 'language', 'languages')}")


def _names(servers: Iterable[object]) -> set[str]:
    """The names in a list of servers, where each is a name or a table with one."""
    return {str(server["name"] if isinstance(server, dict) else server) for server in servers}


def _vs_code(home: Path) -> Iterator[Check]:
    """VS Code and its kin, of which each has a folder of extensions."""
    for editor, folders in VS_CODE_FOLDERS.items():
        extensions = [path for folder in folders for path in sorted((home / folder / "extensions").glob("*starcoder*"))]
        if extensions:
            yield Check(editor, OK, f"set up by {extensions[0]}")
        elif editor == "VS Code":
            yield Check(editor, OK, "not set up")
