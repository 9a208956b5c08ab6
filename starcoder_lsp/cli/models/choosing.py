"""`models use`, `remove`, `verify` and `path`: the commands for model files that are on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.models.naming import ANY_PATH, Located, in_home, locate, own_settings
from starcoder_lsp.cli.models.progress import watching_bytes
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.loading import model_path
from starcoder_lsp.engine.model_file import check_model_file
from starcoder_lsp.models.catalogue import VOCABULARY
from starcoder_lsp.models.chosen import choose, with_path
from starcoder_lsp.models.pull import remove
from starcoder_lsp.models.store import hash_file
from starcoder_lsp.settings_layers import user_file

DEMONSTRATOR_NAME = "demonstrator"
Answer = dict[str, Any]


def use_model(model: str, *, as_json: bool) -> int:
    """Choose a model by its name, or a file by its path, whose header is checked first."""
    with command_errors():
        if model == DEMONSTRATOR_NAME:
            choose(user_file())
            _answer(as_json, {"inUse": None}, "the demonstrator is in use")
            return 0
        located = locate(model)
        if located.path.name == VOCABULARY:
            message = f"{located.path} is a vocabulary and no model: name it in engine.vocabulary"
            raise CommandError(message)
        file = check_model_file(located.path)
        path = "" if located.entry is not None else str(file.path.absolute())
        name = located.entry.name if located.entry is not None else ""
        choose(user_file(), name=name, path=path)
    said = f"{located.name} is in use: {file.path}\n{user_file()} says so; editors take it when they start"
    _answer(as_json, {"inUse": {"name": name or None, "path": str(file.path)}, "settings": str(user_file())}, said)
    return 0


def remove_model(model: str, *, as_json: bool) -> int:
    """Delete a pulled model. Files of other programs, and any other file, are left alone."""
    with command_errors():
        located = locate(model)
        if located.stored is None:
            owner = "is a file of yours" if located.place == ANY_PATH else f"belongs to the {located.place}"
            message = f"{located.path} {owner}; only what `models pull` brought is removed"
            raise CommandError(message)
        n_bytes = located.stored.manifest.n_bytes
        settings = own_settings()
        remove(located.stored)
        in_use = settings.model.path == str(located.path) or (
            not settings.model.path and located.entry is not None and settings.model.name == located.entry.name
        )
        if in_use:
            choose(user_file())
    after = "; it was in use, and now the demonstrator is" if in_use else ""
    said = f"{located.path} is removed, {n_bytes / 1e9:.2f} GB{after}"
    _answer(as_json, {"removed": str(located.path), "bytes": n_bytes, "wasInUse": in_use}, said)
    return 0


def verify_model(model: str | None, *, as_json: bool) -> int:
    """Compare a model's bytes with their known sha256; exit code 1 if they differ."""
    with command_errors():
        located = locate(model) if model else _in_use()
        if located.stored is None or located.path.suffix == ".gguf":
            check_model_file(located.path)
        checked = [_verified(path, sha256) for path, sha256 in _expected(located)]
    is_right = all(each["isRight"] is not False for each in checked)
    words = {True: "right", False: "WRONG: pull it again", None: "nothing to compare with"}
    lines = [f"{each['path']}\n  sha256 {each['sha256']}: {words[each['isRight']]}" for each in checked]
    _answer(as_json, {"files": checked, "isRight": is_right}, "\n".join(lines))
    return 0 if is_right else 1


def print_path(model: str | None, *, as_json: bool) -> int:
    """Write the path of a model on a line of its own."""
    with command_errors():
        path = locate(model).path if model else _in_use().path
    _answer(as_json, {"path": str(path)}, str(path))
    return 0


def _in_use() -> Located:
    """Return the configured model, with its manifest if it was pulled."""
    return locate(str(in_home(model_path(with_path(own_settings()))).absolute()))


def _expected(located: Located) -> Iterator[tuple[Path, str]]:
    """Find the files of a model, and the sha256 that is known of each."""
    if located.stored is not None:
        files = located.stored.manifest.files
        yield from zip(located.stored.paths, (file.sha256 for file in files), strict=True)
    else:
        known = located.sha256 or (located.entry.sha256 if located.entry is not None else "")
        yield located.path, known


def _verified(path: Path, expected: str) -> Answer:
    with watching_bytes(path.stat().st_size, f"reading {path.name}") as advance:
        sha256 = hash_file(path, advance)
    return {
        "path": str(path),
        "sha256": sha256,
        "expected": expected or None,
        "isRight": sha256 == expected if expected else None,
    }


@contextmanager
def command_errors() -> Iterator[None]:
    """Turn errors of model files into a `CommandError`."""
    try:
        yield
    except EngineError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        message = f"{error.filename}: {error.strerror or error}" if error.filename else str(error)
        raise CommandError(message) from error


def _answer(as_json: bool, answer: Answer, said: str) -> None:  # noqa: FBT001  each caller passes its own flag on
    print(json.dumps(answer, indent=2) if as_json else said)
