"""Hostile contents of a cloned repository: devices, named pipes, links, huge files, and patterns that backtrack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.globs import matches
from starcoder_lsp.documents.ignore_rules import IgnoreRules
from starcoder_lsp.documents.resolve import imported_files
from starcoder_lsp.documents.workspace import Workspace
from starcoder_lsp.engine.model_file import ModelFileError, check_model_file
from starcoder_lsp.regular_files import UnfitFileError, read_regular
from starcoder_lsp.settings_layers import load_user_file

pytestmark = pytest.mark.timeout(60)

UNFIT = ["zero", "fifo", "stdin", "folder", "large", "loop", "out"]


def make_unfit(path: Path, kind: str) -> None:
    """Make something at `path` that no program should read."""
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(2**33)  # a sparse file: it takes no room on the disk
    elif kind == "out":
        outside = path.parent.parent / f"outside {path.name}"
        outside.write_text("x = 1\nmodule m\n")
        path.symlink_to(outside)
    else:
        path.symlink_to({"zero": "/dev/zero", "stdin": "/dev/stdin", "loop": path.name}[kind])


@pytest.mark.parametrize("kind", UNFIT)
def test_only_regular_files_of_limited_size_inside_the_folder_are_read(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    make_unfit(root / "file", kind)
    with pytest.raises(OSError):  # noqa: PT011 -- each kind has a text of its own
        read_regular(root / "file", 1000, inside=str(root))


def test_the_size_limit_is_exact_and_an_error_gives_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    assert read_regular(tmp_path / "file", 1000, inside=str(tmp_path)) == b"x" * 1000
    with pytest.raises(UnfitFileError, match="larger than 999 bytes"):
        read_regular(tmp_path / "file", 999)
    with pytest.raises(UnfitFileError, match="no regular file"):
        read_regular("/dev/null", 999)


@pytest.mark.parametrize("kind", UNFIT)
def test_unreadable_files_of_a_workspace_are_never_shown(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in (".gitignore", "go.mod", "module.py"):
        make_unfit(root / name, kind)
    (root / "sub/a.py").write_text("x = 1\n")
    workspace = Workspace(root)
    assert workspace.read(f"{root}/module.py", ()) is None
    assert workspace.read(f"{root}/sub/a.py", ()) is None  # unreadable rules might exclude any file
    opened = Documents().open(f"file://{root}/a.go", "go", 1, 'package a\nimport "m/b"\n')
    assert imported_files(opened, f"{root}/a.go", str(root)) == ()


@pytest.mark.parametrize("kind", ["zero", "fifo", "stdin", "folder", "loop"])
def test_an_unreadable_model_or_settings_file_is_reported(tmp_path: Path, kind: str) -> None:
    make_unfit(tmp_path / "file", kind)
    with pytest.raises(ModelFileError):
        check_model_file(tmp_path / "file")
    assert load_user_file(tmp_path / "file").problems


HOSTILE = ["*a" * 40 + "*b", "**/" * 60 + "*a*b", "a*" * 60 + "/**/b", "{" + "a*," * 60 + "b}" * 3, "[a-z]*" * 50 + "!"]


@pytest.mark.parametrize("glob", HOSTILE)
def test_every_pattern_is_matched_in_linear_time(glob: str) -> None:
    """A matcher that backtracks would practically never end."""
    path = "/".join(["a" * 200] * 15)
    assert not matches(f"{path}c", glob)
    rules = IgnoreRules.parse(f"{glob}\n!{glob}\n/{glob}\n".encode() * 20)
    assert rules.verdict(f"{path}c") is None


def test_thousands_of_rules_are_matched_as_one_pattern() -> None:
    rules = IgnoreRules.parse(b"".join(b"*a%d*b*c\n" % number for number in range(5000)))
    assert rules.any_of is not None
    assert rules.verdict("x" * 4000) is None
    assert rules.verdict("a17__b__c")


@pytest.mark.parametrize("name", ["\udc80.py", "é.py", "a\nb.py"], ids=ascii)
def test_names_that_are_no_utf_8_are_matched(name: str) -> None:
    assert IgnoreRules.parse(b"*.py\n").verdict(name)
    assert matches(f"/x/{name}", "*.py")
    assert matches("/x/a.py", f"*.p[y{name[0]}]")


def test_a_link_to_standard_input_takes_no_message_from_the_server(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").symlink_to("/dev/stdin")
    (tmp_path / "a.py").write_text("x = 1\n")
    code = (
        "import sys; from pathlib import Path; from starcoder_lsp.documents.workspace import Workspace;"
        f"Workspace(Path({str(tmp_path)!r})).read({str(tmp_path / 'a.py')!r}, ()); print(sys.stdin.read())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input="messages", capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "messages\n"
