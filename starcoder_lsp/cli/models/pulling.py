"""`models pull`: show the licence, download the model with a progress bar, and choose it in the settings."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from starcoder_lsp.cli import CommandError, coroutines, write_error_line
from starcoder_lsp.cli.models.choosing import command_errors
from starcoder_lsp.cli.models.naming import own_settings
from starcoder_lsp.cli.models.progress import watching_bytes
from starcoder_lsp.engine.model_file import ModelFileError, check_model_file
from starcoder_lsp.engine.vocabulary import VocabularyError, read_vocabulary
from starcoder_lsp.models.catalogue import Licence
from starcoder_lsp.models.chosen import choose, is_demonstrator
from starcoder_lsp.models.licence import Acceptances
from starcoder_lsp.models.pull import Plan, Puller, Wanted, remove
from starcoder_lsp.models.store import StoredModel
from starcoder_lsp.settings_layers import user_file

MB, GB = 10**6, 10**9
MIN_GB = GB // 10
"""A smaller size is written in MB."""


def pull_model(model: str, *, accepts_licence: bool, uses: bool | None, as_json: bool) -> int:
    """Download a model, and choose it if the user wants that or has chosen none so far."""
    with command_errors():
        wanted = Wanted.of(model)
        is_vocabulary = wanted.source.is_vocabulary
        if is_vocabulary and uses:
            message = f"--use chooses a model, and {model} is a vocabulary: name its path in engine.vocabulary"
            raise CommandError(message)
        puller = Puller()
        plan = coroutines.run(puller.plan(wanted))
        for note in plan.notes:
            write_error_line(note)
        if plan.stored is None:
            _ask_licence(plan, accepts_licence=accepts_licence)
        with watching_bytes(plan.n_bytes, f"downloading {wanted.name}") as advance:
            stored = coroutines.run(puller.pull(plan, lambda n, _all: advance(n)))
        n_parameters = _checked(stored, is_vocabulary=is_vocabulary)
        is_used = not is_vocabulary and (_uses_none() if uses is None else uses)
        if is_used:
            choose(user_file(), **({"name": wanted.entry.name} if wanted.entry else {"path": str(stored.path)}))
    if as_json:
        print(json.dumps(_answer(plan, stored, n_parameters, is_used=is_used), indent=2))
    else:
        print(_said(plan, stored, model, is_used=is_used))
    return 0


def licence_text(plan: Plan) -> str:
    """Return the text before a download: the model, its size, and the conditions of the licence."""
    licence: Licence = plan.licence
    title = plan.wanted.entry.title if plan.wanted.entry is not None else str(plan.wanted.source)
    asks = "\n".join(f"  - {line}" for line in licence.asks)
    size = f"{plan.n_bytes / GB:.2f} GB" if plan.n_bytes >= MIN_GB else f"{plan.n_bytes / MB:.1f} MB"
    return f"{title}, {size}, is under {licence.title}:\n{asks}\n  The whole text: {licence.url}"


def _ask_licence(plan: Plan, *, accepts_licence: bool) -> None:
    """Show the licence and ask once. Raises `CommandError` if it is not accepted."""
    acceptances, name = Acceptances(), plan.wanted.name
    if acceptances.has(name, plan.licence, plan.revision):
        return
    write_error_line(licence_text(plan))
    if not accepts_licence:
        if sys.stdin is None or not sys.stdin.isatty():
            message = "the licence has to be accepted: add --accept-licence, or run this in a terminal"
            raise CommandError(message)
        Console(stderr=True).print("Do you accept it? [y/N] ", end="", markup=False)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            message = "the licence was not accepted, so nothing was downloaded"
            raise CommandError(message)
    acceptances.add(name, plan.licence, plan.revision)


def _checked(stored: StoredModel, *, is_vocabulary: bool) -> int | None:
    """Return the number of parameters, `None` of a vocabulary. Delete a file that is no usable model or vocabulary."""
    try:
        if is_vocabulary:
            read_vocabulary(stored.path)
            return None
        return check_model_file(stored.path).n_parameters
    except (ModelFileError, VocabularyError):
        remove(stored)
        raise


def _uses_none() -> bool:
    """Return whether the user's own settings name no model."""
    return is_demonstrator(own_settings())


def _answer(plan: Plan, stored: StoredModel, n_parameters: int | None, *, is_used: bool) -> dict[str, Any]:
    manifest = stored.manifest
    return {
        "name": plan.wanted.name,
        "path": str(stored.path),
        "bytes": manifest.n_bytes,
        "revision": manifest.revision,
        "sha256": [each.sha256 for each in manifest.files],
        "licence": manifest.licence,
        "parameters": n_parameters,
        "wasHere": plan.stored is not None,
        "inUse": is_used,
    }


def _said(plan: Plan, stored: StoredModel, model: str, *, is_used: bool) -> str:
    is_verified = bool(plan.files) and all(file.sha256 for file in plan.files)
    how = "is here, and its sha256 is right" if is_verified else "is here already" if plan.stored else "is here"
    if plan.wanted.source.is_vocabulary:
        where = f'vocabulary = "{stored.path}" below [engine] in {user_file()}'
        return f"{stored.path} {how}\nfor a model on a server: {where}"
    use = "it is in use; editors take it when they start" if is_used else f"starcoder-lsp models use {model}"
    return f"{stored.path} {how}\n{use}"
