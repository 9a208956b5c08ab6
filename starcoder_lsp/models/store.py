"""The store of downloaded models: a folder for each repository in the user's data folder.

Beside a file `FILE.gguf` is its manifest `FILE.gguf.json`, with its source, sha256 and licence. A file without a
manifest was not verified completely and does not count. The manifest of a split model is that of its first file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import platformdirs
from attrs import asdict, field, frozen

from starcoder_lsp.models.catalogue import Entry, Source
from starcoder_lsp.models.environment import hub_cache
from starcoder_lsp.models.state import read_json, write_json

_READ_BYTES: Final = 1 << 20


@frozen
class StoredFile:
    """One file of a model, with the sha256 that was computed during its download."""

    name: str
    n_bytes: int
    sha256: str


@frozen
class Manifest:
    """The description of a stored model. `name` is that of the catalogue, or else empty; `pulled` is a date."""

    repository: str
    revision: str
    file: str
    licence: str
    pulled: str
    files: tuple[StoredFile, ...]
    name: str = ""

    @property
    def n_bytes(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.n_bytes for file in self.files)


@frozen
class StoredModel:
    """A model that was pulled: the path of its first file, and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths of all of its files."""
        return tuple(self.path.with_name(local_name(file.name)) for file in self.manifest.files)


@frozen
class Store:
    """The folder of pulled models."""

    folder: Path = field(factory=lambda: platformdirs.user_data_path("starcoder-lsp", appauthor=False) / "models")

    def path_of(self, source: Source) -> Path:
        """Return the path of a file of a repository in the store, whether or not it exists."""
        return self.folder / source.repository.replace("/", "--") / local_name(source.file)

    def find(self, source: Source) -> StoredModel | None:
        """Return the complete stored model of a source, at any revision."""
        return _read(self.path_of(source))

    def models(self) -> Iterator[StoredModel]:
        """Find the stored models, in alphabetical order."""
        for path in sorted(self.folder.glob("*/*.gguf.json")):
            if (model := _read(path.with_suffix(""))) is not None:
                yield model

    def add(self, path: Path, manifest: Manifest) -> StoredModel:
        """Add a model whose files are in place, by writing its manifest. Raises `OSError`."""
        write_json(manifest_path(path), asdict(manifest))
        return StoredModel(path, manifest)


def local_name(file: str) -> str:
    """Return the name in the store of a file that may be in a folder of its repository."""
    return file.replace("/", "--")


def manifest_path(path: Path) -> Path:
    """Return the path of a model file's manifest."""
    return path.with_name(f"{path.name}.json")


def in_hub_cache(source: Source) -> Path | None:
    """Return the file of a source that another program has put into the hub's cache; a commit must be the same one.

    Return `None` also if the cache may not be read.
    """
    folder = hub_cache() / f"models--{source.repository.replace('/', '--')}"
    if source.is_pinned:
        snapshots = [folder / "snapshots" / source.revision]
    else:
        try:
            snapshots = [folder / "snapshots" / (folder / "refs" / source.revision).read_text().strip()]
        except (OSError, UnicodeDecodeError):
            return None
    files = (snapshot / source.file for snapshot in snapshots)
    return next((file for file in files if os.path.isfile(file)), None)  # noqa: PTH113 -- `Path.is_file` may raise


def path_of_entry(entry: Entry, store: Store | None = None) -> Path | None:
    """Return the file of a model of the catalogue on this machine: pulled, or else in the hub's cache."""
    stored = (store or Store()).find(entry.source)
    return stored.path if stored is not None else in_hub_cache(entry.source)


def hash_file(path: Path, on_bytes: Callable[[int], None] = lambda _n: None) -> str:
    """Return a file's sha256. Raises `OSError`."""
    digest, n_bytes = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(_READ_BYTES):
            digest.update(data)
            n_bytes += len(data)
            on_bytes(n_bytes)
    return digest.hexdigest()


def _read(path: Path) -> StoredModel | None:
    raw: Any = read_json(manifest_path(path))
    try:
        files = tuple(StoredFile(str(f["name"]), int(f["n_bytes"]), str(f["sha256"])) for f in raw["files"])
        texts = {key: str(raw[key]) for key in ("repository", "revision", "file", "licence", "pulled")}
        model = StoredModel(path, Manifest(**texts, files=files, name=str(raw.get("name", ""))))
        is_whole = bool(files) and all(
            each.stat().st_size == file.n_bytes for each, file in zip(model.paths, files, strict=True)
        )
    except (OSError, LookupError, TypeError, ValueError):
        return None
    return model if is_whole else None
