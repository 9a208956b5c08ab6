"""Read the chosen model from the settings, and write it into the user's own settings file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from attrs import evolve

from starcoder_lsp.models.catalogue import entries, find_entry
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.store import Store, path_of_entry
from starcoder_lsp.settings import Settings


class ModelNotHereError(ModelsError):
    """The model called `name` in the settings is not on this machine."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the model {name} of starcoder.model.name is not on this machine: starcoder-lsp models pull {name}"
        )
        self.name = name


def is_demonstrator(settings: Settings) -> bool:
    """Return whether no model was chosen, so that the demonstrator runs."""
    return settings.engine.kind == "local" and not settings.model.path and not settings.model.name


def with_model(settings: Settings, model: str) -> Settings:
    """Return the settings with another model: a name of the catalogue, unless there is a file of that name."""
    is_name = model.lower() in entries() and not Path(model).is_file()
    name, path = (model, "") if is_name else ("", model)
    return evolve(settings, model=evolve(settings.model, name=name, path=path))


def with_path(settings: Settings, store: Store | None = None) -> Settings:
    """Return the settings with `model.path` set where only `model.name` is.

    Raises `ModelsError` for a name that is not in the catalogue, `ModelNotHereError` for a model that is not here.
    """
    if settings.model.path or not settings.model.name:
        return settings
    entry = find_entry(settings.model.name)
    path = path_of_entry(entry, store)
    if path is None:
        raise ModelNotHereError(entry.name)
    return evolve(settings, model=evolve(settings.model, path=str(path)))


def choose(file: Path, *, name: str = "", path: str = "") -> None:
    """Write the choice into the user's settings file; everything else in it stays, comments included.

    If both are empty, the demonstrator is chosen. An empty value is removed, so that a path in the editor's own
    settings counts again. Raises `ModelsError` for a file that cannot be read or written, and leaves it unchanged.
    """
    from tomlkit.exceptions import TOMLKitError

    try:
        data = file.read_bytes() if file.exists() else b""
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        for key, value in (("path", path), ("name", name)):
            text = _with_key(file, text, key, value)
        _replace(file, text, "\r\n" if b"\r\n" in data else "\n")
    except TOMLKitError as error:
        message = f"{file} is not valid TOML ({error}); nothing was changed. Mend it, or set model.name yourself"
        raise ModelsError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"{file} cannot be changed ({why}); set model.name or model.path yourself"
        raise ModelsError(message) from error


def _with_key(file: Path, text: str, key: str, value: str) -> str:
    """Return TOML with a key of `model` changed, or removed if `value` is empty. Raises `ModelsError`.

    Each change parses anew: tomlkit's view of dotted keys (`model.threads = 2`) is stale after the first.
    """
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document.setdefault("model", tomlkit.table())
    if not hasattr(table, "update"):
        message = f"{file}: model is not a table; nothing was changed"
        raise ModelsError(message)
    if value:
        table[key] = value
    else:
        table.pop(key, None)
    return tomlkit.dumps(document)


def _replace(file: Path, text: str, line_end: str) -> None:
    """Replace a file as a whole, with its line ends. A symbolic link to it, as users of dotfiles have, stays a link."""
    target = file.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        new.write_text(text, "utf-8", newline=line_end)
        if target.exists():
            new.chmod(target.stat().st_mode & 0o7777)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
