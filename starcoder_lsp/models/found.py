"""Find model files of other programs on this machine: the hub's cache, Ollama, LM Studio, llama.cpp, `~/models`.

They are used in place. A file is listed only if it has the header of a usable StarCoder model.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.model_file import ModelFile, check_model_file
from starcoder_lsp.models.environment import hub_cache
from starcoder_lsp.models.state import read_json

MAX_FILES: Final = 200
"""The most files of one place whose headers are read, at most 30 ms of CPU time each."""
MAX_ENTRIES: Final = 5000
"""The most folders and files of one place that are visited."""
MAX_DEPTH: Final = 4
_OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
_LATER_PART: Final = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")


@frozen
class FoundModel:
    """A model of another program. `name` is that program's name for it, `sha256` the hash that it states."""

    path: Path
    place: str
    name: str
    file: ModelFile
    sha256: str = ""


@frozen
class Candidate:
    """A file that may be a model."""

    path: Path
    place: str
    name: str
    sha256: str = ""


@frozen
class Places:
    """The folders of other programs, from the variables that those read."""

    hub: Path = field(factory=hub_cache)
    ollama: tuple[Path, ...] = field(factory=lambda: tuple(_ollama_folders()))
    lm_studio: tuple[Path, ...] = field(factory=lambda: tuple(_lm_studio_folders()))
    llama_cpp: tuple[Path, ...] = field(factory=lambda: tuple(_llama_cpp_folders()))
    own: tuple[Path, ...] = field(factory=lambda: (Path.home() / "models",))

    def candidates(self) -> Iterator[Candidate]:
        """Find all files that may be models, the user's own folder last."""
        for path in _gguf_files(self.hub):
            if (match := _in_hub(path.relative_to(self.hub))) is not None:
                yield Candidate(path, "Hugging Face cache", match, _blob_name(path))
        for folder in self.ollama:
            yield from _in_ollama(folder)
        others = (("LM Studio", self.lm_studio), ("llama.cpp cache", self.llama_cpp), ("~/models", self.own))
        for place, folders in others:
            for folder in folders:
                for path in _gguf_files(folder):
                    yield Candidate(path, place, path.relative_to(folder).as_posix())


def find_models(places: Places | None = None) -> list[FoundModel]:
    """Return the usable models of other programs, each file once. No content of the disk raises an error."""
    found, seen = [], set()
    for candidate in (places or Places()).candidates():
        with suppress(OSError, EngineError):
            status = candidate.path.stat()
            key = (status.st_dev, status.st_ino)
            if key not in seen:
                seen.add(key)
                file = check_model_file(candidate.path)
                found.append(FoundModel(candidate.path, candidate.place, candidate.name, file, candidate.sha256))
    return found


def _gguf_files(folder: Path) -> Iterator[Path]:
    """Find model files below a folder, in alphabetical order, later parts of split ones left out."""
    yield from islice((path for path in _walk(folder) if not _LATER_PART.search(path.name)), MAX_FILES)


def _walk(folder: Path) -> Iterator[Path]:
    n_entries = 0
    for root, folders, files in os.walk(folder):
        depth = len(Path(root).relative_to(folder).parts)
        folders[:] = sorted(each for each in folders if each not in {"blobs", ".locks"}) if depth < MAX_DEPTH else []
        n_entries += len(folders) + len(files)
        if n_entries > MAX_ENTRIES:
            return
        yield from (Path(root) / name for name in sorted(files) if name.endswith(".gguf"))


def _in_hub(relative: Path) -> str | None:
    """Return `ORG/REPO:FILE` of `models--ORG--REPO/snapshots/COMMIT/FILE`, `None` for anything else."""
    parts = relative.parts
    if len(parts) < 4 or not parts[0].startswith("models--") or parts[1] != "snapshots":  # noqa: PLR2004
        return None
    return f"{parts[0].removeprefix('models--').replace('--', '/', 1)}:{'/'.join(parts[3:])}"


def _blob_name(path: Path) -> str:
    """Return the sha256 that the hub's cache names a file's bytes by; empty where it keeps no links."""
    with suppress(OSError):
        target = path.readlink().name
        return target if re.fullmatch(r"[0-9a-f]{64}", target) else ""
    return ""


def _in_ollama(folder: Path) -> Iterator[Candidate]:
    """Find the models of an Ollama store by its manifests: `manifests/REGISTRY/NAMESPACE/MODEL/TAG`."""
    manifests = folder / "manifests"
    for n_seen, (root, folders, files) in enumerate(os.walk(manifests)):
        if n_seen > MAX_ENTRIES:
            return
        folders.sort()
        for tag in sorted(files):
            path = Path(root) / tag
            name = _ollama_name(path.relative_to(manifests))
            for digest in dict.fromkeys(_model_digests(folder, read_json(path))):
                yield Candidate(_blob(folder, digest), "Ollama", name, digest.removeprefix("sha256:"))


def _model_digests(folder: Path, manifest: dict[str, Any], *, is_nested: bool = False) -> Iterator[str]:
    """Find the digests of the weights: in a manifest's layers, or in those of the manifests that a list names."""
    for layer in _objects(manifest.get("layers")):
        if layer.get("mediaType") == _OLLAMA_MODEL and _is_digest(layer.get("digest")):
            yield layer["digest"]
    if is_nested:
        return
    for each in _objects(manifest.get("manifests")):
        yield from _model_digests(folder, each, is_nested=True)
        if _is_digest(each.get("digest")):
            yield from _model_digests(folder, read_json(_blob(folder, each["digest"])), is_nested=True)


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", value) is not None


def _blob(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.replace(":", "-")


def _ollama_name(relative: Path) -> str:
    """Return the name that Ollama shows: without the registry and the namespace that it takes by default."""
    *names, tag = relative.parts
    if names[:1] == ["registry.ollama.ai"]:
        names = names[1:]
    if names[:1] == ["library"]:
        names = names[1:]
    return f"{'/'.join(names)}:{tag}"


def _ollama_folders() -> Iterator[Path]:
    if named := os.environ.get("OLLAMA_MODELS"):
        yield Path(named).expanduser()
    yield Path.home() / ".ollama" / "models"
    yield Path("/usr/share/ollama/.ollama/models")
    yield Path("/var/lib/ollama/.ollama/models")


def _lm_studio_folders() -> Iterator[Path]:
    pointer = Path.home() / ".lmstudio-home-pointer"
    with suppress(OSError, UnicodeDecodeError):
        yield Path(pointer.read_text().strip()) / "models"
        return
    yield Path.home() / ".lmstudio" / "models"
    yield Path.home() / ".cache" / "lm-studio" / "models"


def _llama_cpp_folders() -> Iterator[Path]:
    if named := os.environ.get("LLAMA_CACHE"):
        yield Path(named).expanduser()
        return
    if sys.platform == "darwin":
        yield Path.home() / "Library" / "Caches" / "llama.cpp"
    cache = os.environ.get("XDG_CACHE_HOME")
    yield (Path(cache).expanduser() if cache else Path.home() / ".cache") / "llama.cpp"
