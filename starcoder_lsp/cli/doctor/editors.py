"""Checks of the path, and of the editors that are set up for the program."""

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
"""The text by which a configuration for this program is recognized."""
MAX_FILES = 500
"""Files of an editor's configuration that are read, without its packages. Not measured."""
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
    """Check whether the `starcoder-lsp` on the path is this program."""
    found, own_folder = shutil.which(PROGRAM), Path(sys.executable).parent
    if found is None:
        advice = "Use its full path in the editor's configuration, or put it on the path"
        if (own_folder / PROGRAM).exists():
            line = f"export PATH={shlex.quote(str(own_folder))}:$PATH"
            advice = f"{advice}, in your shell's startup file:\n{line}"
        yield Check("on the path", WARNING, f"editors do not find `{PROGRAM}`", advice)
    elif is_this_program(Path(found)):
        yield Check("on the path", OK, found)
    else:
        advice = "Editors start that one. To see all of them:\ntype -a starcoder-lsp"
        yield Check("on the path", WARNING, f"{found}, another one than this program", advice)


def is_this_program(script: Path) -> bool:
    """Return whether a script on the path runs this interpreter, by its folder or by its first lines."""
    own = Path(sys.executable)
    if script.resolve().parent == own.parent.resolve():
        return True
    with suppress(OSError), script.open("rb") as file:
        return any(os.fsencode(own) in line for line in file.read(1024).splitlines()[:N_LINES_OF_A_SCRIPT])
    return False


def check_editors(facts: Facts) -> Iterator[Check]:
    """Check which editors are set up."""
    checks = [
        _named("Neovim", _neovim_files(facts.places.home)),
        _helix(_config_home(facts.places.home) / "helix" / "languages.toml"),
        _named("Emacs", (facts.places.home / name for name in EMACS_FILES)),
        *_vs_code(facts.places.home),
    ]
    yield from checks
    if all(check.found.startswith("not set up") for check in checks):
        yield Check("editors", WARNING, "none is set up", "Follow editor-configs/README.md.")


def _config_home(home: Path) -> Path:
    """Return the folder of other programs' configurations."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")


def _named(editor: str, files: Iterable[Path]) -> Check:
    """Check an editor: it is set up if a file of its configuration names this program."""
    for path in islice(files, MAX_FILES):
        if NAME in _start_of(path):
            return Check(editor, OK, f"set up in {path}")
    return Check(editor, OK, "not set up")


def _start_of(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(MAX_BYTES)
    return b""


def _neovim_files(home: Path) -> Iterator[Path]:
    """Yield the files of Neovim's configuration, those at the top first."""
    for parent, folders, names in os.walk(_config_home(home) / "nvim"):
        folders[:] = sorted(set(folders) - NOT_CONFIGURATION)
        yield from (Path(parent, name) for name in sorted(names) if name.endswith((".lua", ".vim")))


def _helix(path: Path) -> Check:
    """Check Helix: the server, and the languages that use it."""
    text = _start_of(path)
    if NAME not in text:
        return Check("Helix", OK, "not set up")
    try:
        table = tomllib.loads(text.decode())
        commands = {
            name: str(server.get("command", ""))
            for name, server in table.get("language-server", {}).items()
            if NAME.decode() in f"{name} {server}"
        }
        languages = [
            row["name"] for row in table.get("language", ()) if _names(row.get("language-servers", ())) & set(commands)
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return Check(
            "Helix", WARNING, f"{path} cannot be understood ({error})", "Correct it; Helix ignores the whole file."
        )
    if not commands:
        return Check(
            "Helix", WARNING, f"{path} names the program, but has no server", "Follow editor-configs/README.md."
        )
    for name, command in commands.items():
        if shutil.which(command) is None:
            found = f"{path}: the command of {name} is not found: {command}"
            return Check("Helix", WARNING, found, "Use the program's full path there.")
    if not languages:
        advice = 'Add "starcoder" to the end of `language-servers` of each language.'
        return Check("Helix", WARNING, f"{path} has the server, but no language that uses it", advice)
    return Check("Helix", OK, f"set up in {path} for {counted(len(languages), 'language', 'languages')}")


def _names(servers: Iterable[object]) -> set[str]:
    """Return the names in a list of servers, each a name or a table with one."""
    return {str(server["name"] if isinstance(server, dict) else server) for server in servers}


def _vs_code(home: Path) -> Iterator[Check]:
    """Check VS Code and its derivatives, each with a folder of extensions."""
    for editor, folders in VS_CODE_FOLDERS.items():
        extensions = [path for folder in folders for path in sorted((home / folder / "extensions").glob("*starcoder*"))]
        if extensions:
            yield Check(editor, OK, f"set up by {extensions[0]}")
        elif editor == "VS Code":
            yield Check(editor, OK, "not set up")
