"""The test file of a source file, and the start of a new one, by the conventions in `languages.toml`.

No file is read. A few paths are checked in the folders from the source file's own up to the workspace's root.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from starcoder_lsp.documents.uris import path_of

if TYPE_CHECKING:
    from starcoder_lsp.documents.documents import Snapshot
    from starcoder_lsp.documents.languages import Testing

_MAX_FOLDERS: Final = 16
"""The most folders that are checked. Not measured."""
_QUOTES: Final = re.compile(r"[\"'`\\]")
"""Characters of a JavaScript method's name that would end the string in which its test is named."""


def is_test_file(path: str, testing: Testing) -> bool:
    """Return whether a file has the name of a test file."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, form.rpartition("/")[2].replace("{file}", "*")) for form in testing.files)


def find_test_file(path: str, root: str | None, testing: Testing) -> tuple[str, bool]:
    """Return the path of the test file for the source file at `path`, and whether it exists.

    If there is none, return the first conventional path whose folder exists, the nearest folder first.
    """
    source = PurePosixPath(path)
    above = (folder for folder in list(source.parents)[1:_MAX_FOLDERS] if root and folder.is_relative_to(root))
    folders = [source.parent, *above]
    paths = [f"{folder / form}".replace("{file}", source.stem) for form in testing.files for folder in folders]
    existing = next((each for each in paths if os.path.isfile(each)), None)  # noqa: PTH113 -- pathlib takes longer
    if existing is not None:
        return existing, True
    return next((each for each in paths if os.path.isdir(each.rpartition("/")[0])), paths[0]), False  # noqa: PTH112


def fill_template(form: str, path: str, root: str | None, tested: Snapshot, dotted: str) -> str:
    """Fill the placeholders in a row's `head` or `begin`, for a test file at `path`.

    `dotted` is the tested function's name after those of its enclosing scopes, joined by dots.
    """
    source = PurePosixPath(path_of(tested.uri)).with_suffix("")
    top, name = dotted.partition(".")[0], dotted.rpartition(".")[2]
    name = _QUOTES.sub("", name).strip("_") or name
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
    """Return the first line of code without the comments before it; "" if there is none."""
    start = snapshot.syntax.first_code() if snapshot.syntax is not None else None
    if start is None:
        return ""
    text = snapshot.text
    return text.data[start : text.line_span(text.line_of(start))[1]].decode("utf-8", "replace").rstrip()
