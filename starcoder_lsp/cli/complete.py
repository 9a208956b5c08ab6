"""`starcoder-lsp complete FILE:LINE:COLUMN`: one completion, by the server's pipeline."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from starcoder_lsp.cli import CommandError, warn
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.host.early import EARLY
from starcoder_lsp.models.chosen import with_model, with_path
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import SettingsLayer, load_user_file, read_settings, user_file

if TYPE_CHECKING:
    from starcoder_lsp.completion import Completion
    from starcoder_lsp.documents.documents import Snapshot
    from starcoder_lsp.engine.engine import Generation

NOT_IN_AN_ERROR = re.compile("[,;] ignored|; using .*")
"""The part of a message about a setting that is wrong for an error: that the value is ignored."""


@frozen
class Position:
    """A position in a file, the file's text, and the settings."""

    path: Path
    snapshot: Snapshot
    cursor_byte: int
    settings: Settings


def read_position(place: str, settings: Settings) -> Position:
    """Read the file of a position. Raises `CommandError`, also for a file that gets no completions."""
    from starcoder_lsp.cli.place import byte_at, open_file, parse_place, workspace_context_of
    from starcoder_lsp.prompting import decline_reason

    parsed = parse_place(place, with_column=True)
    snapshot = open_file(parsed.path)
    cursor_byte = byte_at(parsed, snapshot)
    declined = decline_reason(snapshot, settings, workspace_context_of(parsed.path).root)
    if declined:
        message = f"{parsed.path}: {declined}"
        raise CommandError(message)
    return Position(parsed.path, snapshot, cursor_byte, settings)


def complete_at(place: str, *, as_json: bool, model: str | None) -> int:
    """Write the completion at a position to standard output."""
    EARLY.begin(["complete", model], user_file())  # the model loads while the pipeline is imported
    try:
        completion = _completed(place, configured(model))
    except EngineError as error:
        raise CommandError(str(error)) from error
    finally:
        EARLY.end()
    write_out(json.dumps(described(completion), indent=2) if as_json else completion.text)
    return 0


def _completed(place: str, settings: Settings) -> Completion:
    """Return the completion at a position. Raises `CommandError` and `EngineError`."""
    from starcoder_lsp.cli import coroutines

    return coroutines.run(_complete(read_position(place, settings)))


async def _complete(position: Position) -> Completion:
    """Load the model and complete once. Raises `EngineError`."""
    from starcoder_lsp.cli.place import workspace_context_of
    from starcoder_lsp.completion import complete
    from starcoder_lsp.engine.engine import Cancellation
    from starcoder_lsp.engine.loading import Listeners, opened_engine
    from starcoder_lsp.prompting import CompletionRequest, Model

    async with opened_engine(position.settings, Listeners(on_message=warn), joins=True) as model:
        context = workspace_context_of(position.path)
        request = CompletionRequest(
            position.snapshot, position.cursor_byte, Model.of(*model), position.settings, context
        )
        return await complete(request, Cancellation())


def write_out(text: str) -> None:
    """Write to standard output, always in UTF-8 and with the text's own line ends."""
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")  # a path may have other bytes
    sys.stdout.flush()


def configured(model: str | None, changes: Iterable[str] = ()) -> Settings:
    """Return the user's settings with `changes`, each `name=value`, and with another model file if one is given.

    `model` is a path, or a name of the catalogue. A value is JSON, or else a plain string. Raises `CommandError` for an
    invalid change, and for a model that is not on this machine.
    """
    own = _user_layer()
    settings, problems = read_settings([own, *map(_layer, changes)])
    for problem in problems[len(read_settings([own])[1]) :]:
        raise CommandError(NOT_IN_AN_ERROR.sub("", problem))
    try:
        return with_path(settings if model is None else with_model(settings, model))
    except ModelsError as error:
        raise CommandError(str(error)) from error


@cache
def _user_layer() -> SettingsLayer:
    """Read the user's settings file. Write its problems to standard error, once."""
    own = load_user_file(user_file())
    for problem in read_settings([own])[1]:
        warn(problem)
    return own


def _layer(change: str) -> SettingsLayer:
    name, _, text = change.partition("=")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = text
    for key in reversed(name.split(".")):
        values = {key: values}
    return SettingsLayer("the command line", values, trusted=True)


def described(completion: Completion) -> dict[str, Any]:
    """Return the completion as JSON. Lines and columns are counted from 1."""
    generation, timings = completion.generation, completion.timings
    return {
        "text": completion.text,
        "reason": completion.reason,
        "range": {
            "start": _one_based(completion, completion.cursor_byte),
            "end": _one_based(completion, completion.end_byte),
        },
        "stopReason": generation.written[0].stop_reason if generation else None,
        "filters": [{"name": e.name, "effect": str(e)} for e in completion.filters],
        "tokens": {
            "prompt": generation.n_prompt if generation else 0,
            "reused": _counted(generation, "n_reused"),
            "evaluated": _counted(generation, "n_evaluated"),
            "generated": generation.n_generated if generation else 0,
        },
        "timingsMs": {
            "window": round(timings.window_ms, 3),
            "prefill": round(timings.prefill_ms, 3),
            "decode": round(timings.decode_ms, 3),
            "total": round(timings.total_ms, 3),
        },
    }


def _counted(generation: Generation | None, name: str) -> int | None:
    """Return one of the engine's counts, or `None` if it reports none."""
    if generation is None:
        return 0
    return getattr(generation, name) if generation.is_counted else None


def _one_based(completion: Completion, byte: int) -> dict[str, int]:
    line, character = completion.snapshot.text.position_of(byte, "utf-32")
    return {"line": line + 1, "column": character + 1}
