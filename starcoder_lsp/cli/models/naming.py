"""Find the model file on this machine that a user names."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from starcoder_lsp.engine.model_file import raising_model_file_errors
from starcoder_lsp.models.catalogue import Entry, entries, find_entry, parse_source
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.found import find_models
from starcoder_lsp.models.store import Store, StoredModel, in_hub_cache
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import load_user_file, read_settings, user_file

HUB, ANY_PATH = "Hugging Face cache", "a file"


@frozen
class Located:
    """A model file with its entry, its manifest, or the program that it belongs to."""

    path: Path
    name: str = ""
    entry: Entry | None = None
    stored: StoredModel | None = None
    place: str = ""
    sha256: str = ""


def locate(model: str, store: Store | None = None) -> Located:
    """Find the model that a name or a path means; a file of that path comes first.

    Raises `ModelsError` for a name that no model on this machine has, and `ModelFileError` for a path below a home
    folder that is not known. The file at a path is not checked otherwise.
    """
    store = store or Store()
    if not _is_a_path(model):
        if model.lower() in entries():
            return _of_entry(find_entry(model), store)
        if (pulled := _pulled(model, store)) is not None:
            return pulled
        if (found := next((each for each in find_models() if each.name == model), None)) is not None:
            return Located(found.path, found.name, place=found.place, sha256=found.sha256)
        if not model.endswith(".gguf"):
            find_entry(model)  # raises, with a proposal
    path = in_home(Path(model))
    stored = next((each for each in store.models() if each.path == path.absolute()), None)
    return Located(path, name=model, stored=stored, place=ANY_PATH)


def in_home(path: Path) -> Path:
    """Return a path with the home folder in place of a leading `~`. Raises `ModelFileError` if that is not known."""
    with raising_model_file_errors(path):
        return path.expanduser()


def own_settings() -> Settings:
    """Return the user's own settings; what is wrong with them is left to `doctor`."""
    return read_settings([load_user_file(user_file())])[0]


def _of_entry(entry: Entry, store: Store) -> Located:
    stored = store.find(entry.source)
    if stored is not None:
        return Located(stored.path, entry.name, entry, stored)
    cached = in_hub_cache(entry.source)
    if cached is None:
        message = f"{entry.name} is not on this machine: starcoder-lsp models pull {entry.name}"
        raise ModelsError(message)
    return Located(cached, entry.name, entry, place=HUB)


def _is_a_path(model: str) -> bool:
    """Return whether a user means a path: a file exists there, or it cannot be a name."""
    return model.startswith(("/", "~", ".", "$")) or "\\" in model or Path(model).is_file()


def _pulled(model: str, store: Store) -> Located | None:
    """Return the pulled model that `ORG/REPO:FILE` means."""
    source = parse_source(model) if "/" in model else None
    stored = store.find(source) if source is not None and source.file else None
    return Located(stored.path, model, stored=stored) if stored is not None else None
