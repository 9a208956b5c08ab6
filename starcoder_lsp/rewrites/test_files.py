"""Where the tests of a source file are, and what a new one begins with: by the conventions of ``languages.toml``.

No file is read here, and none is searched for: a few paths are looked at in the folders from the file's own up to the
workspace's root.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from starcoder_lsp.documents.documents import language_of
from starcoder_lsp.documents.uris import path_of

if TYPE_CHECKING:
    from starcoder_lsp.documents.documents import Snapshot
    from starcoder_lsp.documents.languages import Testing

_N_FOLDERS: Final = 16  # above a file


def is_test_file(path: str, testing: Testing) -> bool:
    """Whether a file is named as tests are."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, form.rpartition("/")[2].replace("{file}", "*")) for form in testing.files)


def find_test_file(path: str, root: str | None, testing: Testing) -> tuple[str, bool]:
    """Return the path of the tests of the file at `path`, and whether they are there.

    Where there are none yet, it is the first convention whose folder is there, in the nearest folder.
    """
    source = PurePosixPath(path)
    above = (folder for folder in list(source.parents)[1:_N_FOLDERS] if root and folder.is_relative_to(root))
    folders = [source.parent, *above]
    paths = [f"{folder / form}".replace("{file}", source.stem) for form in testing.files for folder in folders]
    there = next((each for each in paths if os.path.isfile(each)), None)  # noqa: PTH113 -- pathlib takes longer
    if there is not None:
        return there, True
    return next((each for each in paths if os.path.isdir(each.rpartition("/")[0])), paths[0]), False  # noqa: PTH112


def filled_in(form: str, path: str, root: str | None, tested: Snapshot, dotted: str) -> str:
    """Return a row's `head` or `begin` for a test file at `path`.

    `dotted` is the name of what is tested, behind those of what it is in.
    """
    source = PurePosixPath(path_of(tested.uri)).with_suffix("")
    top, name = dotted.partition(".")[0], dotted.rpartition(".")[2]
    name = name.strip("_") or name
    from_test = os.path.relpath(source, PurePosixPath(path).parent).replace(os.sep, "/")
    is_below = root is not None and source.is_relative_to(root)
    values = {
        "{name}": name,
        "{Name}": name[:1].upper() + name[1:],
        "{top}": top,
        "{module}": ".".join(source.relative_to(root).parts) if root and is_below else source.name,
        "{path}": from_test if from_test.startswith(".") else f"./{from_test}",
        "{first}": _first_code(tested),
    }
    return re.sub(r"\{\w+\}", lambda match: values.get(match.group(), match.group()), form)


def _first_code(snapshot: Snapshot) -> str:
    """Return the first line that is no comment and not blank, "" for none."""
    marker = (language_of(snapshot).line_comment or "\n").encode()
    lines = (line.strip() for line in snapshot.text.data.splitlines())
    return next((line.decode("utf-8", "replace") for line in lines if line and not line.startswith(marker)), "")
