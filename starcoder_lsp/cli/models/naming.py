"""From what a user typed to a model file on this machine."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from starcoder_lsp.models.catalogue import Entry, entries, find_entry
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.found import FoundModel, find_models
from starcoder_lsp.models.pull import Wanted
from starcoder_lsp.models.store import Store, StoredModel, in_hub_cache
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import load_user_file, read_settings, user_file

HUB, ANY_PATH = "Hugging Face cache", "a file"


@frozen
class Located:
    """A model file, and what is known of it: its entry, its manifest, or the program that it belongs to."""

    path: Path
    name: str = ""
    entry: Entry | None = None
    stored: StoredModel | None = None
    place: str = ""
    sha256: str = ""


def locate(spelled: str, store: Store | None = None) -> Located:
    """Find the model that a name or a path means. Raises `ModelsError` if it is not on this machine."""
    store = store or Store()
    if spelled.lower() in entries() and not Path(spelled).is_file():
        return _of_entry(find_entry(spelled), store)
    if not _looks_like_a_path(spelled):
        if (pulled := _pulled(spelled, store)) is not None:
            return pulled
        if (found := _of_other_program(spelled)) is not None:
            return Located(found.path, found.name, place=found.place, sha256=found.sha256)
        find_entry(spelled)  # raises, with a proposal
    path = Path(spelled)
    stored = next((each for each in store.models() if each.path == path.expanduser().absolute()), None)
    return Located(path, name=str(path), stored=stored, place=ANY_PATH)


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


def _looks_like_a_path(spelled: str) -> bool:
    is_source = ":" in spelled and spelled.count("/") == 1 and not spelled.startswith(("/", "~", "."))
    return not is_source and (any(sign in spelled for sign in "/\\~$") or spelled.endswith(".gguf"))


def _pulled(spelled: str, store: Store) -> Located | None:
    """Return the pulled model that `ORG/REPO:FILE` means."""
    if "/" not in spelled:
        return None
    stored = store.find(Wanted.of(spelled).source)
    return Located(stored.path, spelled, stored=stored) if stored is not None else None


def _of_other_program(spelled: str) -> FoundModel | None:
    return next((each for each in find_models() if each.name == spelled), None)
