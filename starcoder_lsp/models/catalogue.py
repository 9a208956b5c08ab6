"""The catalogue of models and licences that comes with the package, and how a user names a model."""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from starcoder_lsp.models.errors import ModelsError

FILE: Final = Path(__file__).with_name("catalogue.toml")
DEFAULT_REVISION: Final = "main"
VOCABULARY: Final = "tokenizer.json"
"""The file of a repository that holds the vocabulary alone, for a model that runs on a server."""

_SOURCE: Final = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[^:]+))?")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@frozen
class Licence:
    """A licence. `asks` are five lines for a user, `url` is where the whole text is."""

    key: str
    title: str
    url: str
    asks: tuple[str, ...]


@frozen
class Source:
    """A file of a repository on the hub, at a commit or at a branch."""

    repository: str
    revision: str
    file: str

    @property
    def is_pinned(self) -> bool:
        """Return whether the revision is a commit, which cannot change."""
        return _COMMIT.fullmatch(self.revision) is not None

    @property
    def is_vocabulary(self) -> bool:
        """Return whether it is a vocabulary, and no model."""
        return self.file.rpartition("/")[2] == VOCABULARY

    def __str__(self) -> str:
        """Return the spelling in which a user names it."""
        return f"{self.repository}:{self.file}"


@frozen
class Entry:
    """A model of the catalogue. Its fields are those of `catalogue.toml`; `sha256` is empty where it is not known."""

    name: str
    title: str
    source: Source
    quantization: str
    n_bytes: int
    sha256: str
    is_verified: bool
    licence: Licence
    shape: str
    good_for: str


@cache
def licences() -> dict[str, Licence]:
    """Return the licences by key."""
    return {
        row["key"]: Licence(row["key"], row["title"], row["url"], tuple(row["asks"])) for row in _tables()["licence"]
    }


@cache
def entries() -> dict[str, Entry]:
    """Return the models by name, in the catalogue's order."""
    return {row["name"]: _entry(row) for row in _tables()["model"]}


def find_entry(name: str) -> Entry:
    """Return the model of a name. Raises `ModelsError`, which proposes the name with the most similar spelling."""
    found = entries().get(name.lower())
    if found is not None:
        return found
    close = difflib.get_close_matches(name.lower(), entries(), n=1, cutoff=0.5)
    advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(entries())}"
    message = f"{name!r} is not a model of the catalogue; {advice}"
    raise ModelsError(message)


def parse_source(text: str) -> Source | None:
    """Return the file that `ORG/REPO:FILE` or `ORG/REPO@REVISION:FILE` names, `None` if `text` has another form.

    `file` is empty in `ORG/REPO`. Raises `ModelsError` for a file that is neither a GGUF file nor a vocabulary.
    """
    match = _SOURCE.fullmatch(text.removeprefix("hf:").removeprefix("hf.co/"))
    if match is None:
        return None
    source = Source(match["repository"], match["revision"] or DEFAULT_REVISION, match["file"] or "")
    is_usable = source.file.endswith(".gguf") or source.is_vocabulary
    if source.file and (not is_usable or ".." in source.file.split("/") or source.file.startswith("/")):
        message = f"{text}: {source.file!r} is not the name of a .gguf file, or of a {VOCABULARY}, in a repository"
        raise ModelsError(message)
    return source


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        name=row["name"],
        title=row["title"],
        source=Source(row["repository"], row["revision"], row["file"]),
        quantization=row["quantization"],
        n_bytes=row["n_bytes"],
        sha256=row["sha256"],
        is_verified=row["verified"],
        licence=licences()[row["licence"]],
        shape=row["shape"],
        good_for=row["good_for"],
    )


@cache
def _tables() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(FILE.read_text("utf-8"))
