"""Hostile workspaces: links, named pipes, devices, sockets, sparse files and odd ignore files.

A case is `{"entries", "ignores", "globs"}`: `[path, kind, target]` of what the open file imports, ignore files as
`[folder, kind, text]`, and `disabledGlobs`. Each case is a folder below the server's root, which is a git repository.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.peer import SETTINGS, Peer

FOLDERS = ["", "a", "a/b", "build", "a/build", "/".join("d" * 40)]
NAMES = [f"m{number}" for number in range(6)]
TARGETS = [
    "m0.py", "a/m1.py", "../outside.py", "OUTSIDE", "/dev/zero", "/dev/stdin", "/proc/self/fd/0", "/proc/kmsg", "loop",
    ".", "/", "nowhere", "/dev/tty", "x" * 300,
]  # fmt: skip
"""Targets of links; `OUTSIDE` is a file outside of the root."""
KINDS = ["file", "file", "file", "link", "link", "fifo", "device", "socket", "folder", "hole", "binary"]
IGNORE_KINDS = ["file", "file", "file", "file", "link", "fifo", "device", "folder", "hole"]
PATTERNS = [
    "*.py", "!m1.py", "/a/", "a/", "**/m2.py", "a/**/b", "m[0-3].py", "m?.py", "build", "!build/", "/m0.py",
    "*a*a*a*a*a*b", "*" * 60 + "x", "(a+)+$", "[", "[a", "\\", "\\!m1.py", "#m1.py", "!", "**", "a/" * 300, "?" * 200,
    "[!m]*", "{m1,m2}.py", "**/" * 40 + "x", " m1.py ", "\ufeff*.py", "m1.py\r", "m3.py  ", "é*", "/", "//", "../m0.py",
    "*/../*",
]  # fmt: skip
GLOBS = [
    "**/m4.py",
    "*" * 30 + "x",
    "**/" * 20 + "x",
    "{a,{b,{c," + "{x," * 30,
    "[",
    "m[",
    "!(*)",
    "",
    "{" * 50,
    "*a" * 25,
]
PATHS = st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)).map(lambda pair: "/".join(filter(None, pair)))
PRIVATE = "outside_marker"


def cases(n_entries: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for workspaces of at most so many entries."""
    texts = st.lists(st.sampled_from(PATTERNS), max_size=5).map("\n".join)
    entry = st.tuples(PATHS, st.sampled_from(KINDS), st.sampled_from(TARGETS)).map(list)
    ignore = st.tuples(st.sampled_from(FOLDERS), st.sampled_from(IGNORE_KINDS), texts).map(list)
    return st.fixed_dictionaries(
        {
            "entries": st.lists(entry, min_size=1, max_size=n_entries, unique_by=lambda each: each[0]),
            "ignores": st.lists(ignore, max_size=3, unique_by=lambda each: each[0]),
            "globs": st.lists(st.sampled_from(GLOBS), max_size=2),
        }
    )


def check(peer: Peer, case: dict[str, Any]) -> int:
    """Build the workspace, open a file that imports all of it, and send requests.

    Raises `FaultError` if a request has no reply, or if the model would see a file that git ignores or that is outside.
    """
    assert peer.root is not None
    folder = peer.root / f"case{peer.new_id()}"
    folder.mkdir()
    _git(peer.root, "init", "-q")
    outside = peer.root.parent / "outside.py"
    outside.write_text(_source("outside", PRIVATE))
    for path, kind, target in case["entries"]:
        text = _source(path.rpartition("/")[2], _marker(path))
        _make(folder / f"{path}.py", kind, str(outside) if target == "OUTSIDE" else target, text)
    for place, kind, text in case["ignores"]:
        _make(folder / place / ".gitignore", kind, "/dev/zero", text)
    settings = SETTINGS | {"context": {"maxTokens": 1024}, "disabledGlobs": case["globs"]}
    peer.notify("workspace/didChangeConfiguration", {"settings": {"starcoder": settings}})
    uri, source = (folder / "main.py").as_uri(), _main_of(case)
    (folder / "main.py").write_text(source)
    peer.open(uri, source, "python")
    last = source.count("\n")
    peer.complete(uri, last, 4)
    here = {"line": last, "character": 4}
    whole = {"start": {"line": 0, "character": 0}, "end": here}
    peer.request(
        "textDocument/codeAction",
        {"textDocument": {"uri": uri}, "range": whole, "context": {"diagnostics": []}},
    )
    seen = peer.explain(uri, last, 4)
    peer.settle()
    peer.close_document(uri)
    prompt = (seen or {}).get("prompt", "")
    if PRIVATE in prompt:
        raise peer.fault("the model would see a file that is outside of the workspace")
    if all(kind == "file" for _, kind, _ in case["ignores"]):
        for path, kind, _ in case["entries"]:
            if kind == "file" and _marker(path) in prompt and _is_ignored(peer.root, folder / f"{path}.py"):
                message = f"the model would see {path}, which git ignores"
                raise peer.fault(message)
    return 1


def _main_of(case: dict[str, Any]) -> str:
    names = [path for path, _, _ in case["entries"]]
    imports = "".join(f"from {path.replace('/', '.')} import use_{path.rpartition('/')[2]}\n" for path in names)
    return f"{imports}\n\ndef main():\n" + "".join(f"    use_{name.rpartition('/')[2]}()\n" for name in names) + "    "


def _marker(path: str) -> str:
    return "marker_" + path.replace("/", "_")


def _source(name: str, marker: str) -> str:
    return f"def use_{name}({marker}=1):\n    return {marker}\n"


def _make(path: Path, kind: str, target: str, text: str) -> None:
    """Make a file, or something else in its place. Kinds that this system or user cannot make are left out."""
    if len(str(path)) > 1000 or path.exists() or path.is_symlink():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            path.write_text(text)
        elif kind == "binary":
            path.write_bytes(b"\0\xff\xfe" + text.encode())
        elif kind == "link":
            path.symlink_to(path.name if target == "loop" else target)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "device":
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        elif kind == "hole":
            with path.open("wb") as file:
                file.truncate(2**36)
        else:
            path.mkdir()
    except OSError:
        return


def _git(root: Path, *arguments: str) -> int:
    return subprocess.run(["git", "-C", str(root), *arguments], check=False, capture_output=True).returncode  # noqa: S603, S607


def _is_ignored(root: Path, path: Path) -> bool:
    return _git(root, "check-ignore", "--no-index", "-q", str(path)) == 0
