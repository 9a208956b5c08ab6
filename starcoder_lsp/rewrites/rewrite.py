"""What a person asks for by name: a function's body, some lines, a docstring or a test, and nothing around is touched.

`Asked -> Hole -> Rewrite`: what is in the hole is hidden from the model, which writes it anew between what is above and
what is below, in the pipeline of `completion.py` and under the same rules. `KINDS` has a row for each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import evolve, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.completion import Completion, generation_request, to_completion
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.context.window import Window, normalized
from starcoder_lsp.documents.documents import Snapshot, fresh, language_of, spliced
from starcoder_lsp.documents.text import Text
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.documents.workspace import WorkspaceContext, workspace_at
from starcoder_lsp.engine.engine import Cancellation, CompletionOutput, Generation, Prompt
from starcoder_lsp.engine.generation import OnTexts, generate
from starcoder_lsp.prompting import CompletionRequest, Model, build_prompt, choose_window
from starcoder_lsp.rewrites.targets import (
    MAX_LINES,
    Asked,
    Hole,
    fill_body,
    line_end_of,
    rewrite_diagnostic,
    rewrite_selection,
    write_docstring,
    write_test,
)
from starcoder_lsp.rewrites.test_files import filled_in, find_test_file
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.cursor_context import CursorContext, describe_cursor
from starcoder_lsp.suggestions.stopping import stop_rule

N_NEW_TOKENS = 256
"""What is written at most, some 25 lines: a person waits for it, and sees how it goes on."""
CONTEXT_SHARE = 0.25
"""Of a small context no more than this is left for what is written."""
TIMEOUT_MS = 60_000
LOOP = re.compile(rb"((?:\n[^\n]*){1,4}?)\1{2}(?=\n)")
"""Some lines that stand there three times in a row, which only long answers come to."""
MIN_LOOP_BYTES = 12


class CannotWriteError(Exception):
    """Nothing can be written there. The text is one plain line for a person."""


@frozen
class Rewrite:
    """`text` in place of `start_byte` to `end_byte` of `snapshot`; nothing if its completion has a reason for that."""

    snapshot: Snapshot
    start_byte: int
    end_byte: int
    text: str
    is_new_file: bool
    completion: Completion


def in_test_file(hole: Hole, around: WorkspaceContext, settings: Settings) -> Hole:
    """A test's place: the end of the file of tests, or a new one. Raises `CannotWriteError` for one not to be seen."""
    source, testing = hole.snapshot, language_of(hole.snapshot).test
    if testing is None:
        return hole
    root = around.root.as_posix() if around.root is not None else None
    path, is_there = find_test_file(path_of(source.uri), root, testing)
    snapshot = next((each for each in around.open_documents if path_of(each.uri) == path), None)
    if snapshot is None and is_there:
        snapshot = workspace_at(around.root).read(path, settings.disabled_globs)
        if snapshot is None:
            message = f"{Path(path).name} is there and may not be read"
            raise CannotWriteError(message)
    if snapshot is None:
        snapshot = fresh(Path(path).as_uri(), source.language_id, 0, Text.from_bytes(b""))
    data, line_end = snapshot.text.data, line_end_of(snapshot.text)
    head, begin, end = (
        part.encode("utf-8", "replace").replace(b"\n", line_end)
        for part in (
            filled_in(form, path, root, source, hole.name) for form in (testing.head, *testing.begin.split("{}"))
        )
    )
    if data:
        head = line_end * (1 if language_of(source).blocks == "brace" else 2)
        head = head if data.endswith((b"\n", b"\r")) else line_end + head
    at = len(data)
    return evolve(
        hole,
        snapshot=snapshot,
        start_byte=at,
        end_byte=at,
        hint=(line_end if data else b"") + hole.hint,
        lead=head + begin,
        trail=end + line_end,
        is_new_file=not is_there and not data,
    )


@frozen
class Kind:
    """One kind of action: the protocol's word for it, and what finds its hole by syntax alone.

    `title` has `{}` in place of the hole's name. `place` says where the hole really is, when it is written.
    """

    name: str
    protocol_kind: str
    title: str
    find: Callable[[Asked], Hole | None]
    place: Callable[[Hole, WorkspaceContext, Settings], Hole] = lambda hole, _around, _settings: hole
    is_about_message: bool = False


KINDS = (
    Kind("diagnostic", "quickfix", "Rewrite for: {}", rewrite_diagnostic, is_about_message=True),
    Kind("body", "refactor.rewrite", "Fill the body of {}", fill_body),
    Kind("selection", "refactor.rewrite", "Rewrite the selected lines", rewrite_selection),
    Kind("docstring", "refactor.rewrite", "Write a docstring for {}", write_docstring),
    Kind("test", "refactor.rewrite", "Write a test for {}", write_test, in_test_file),
)


def offers(asked: Asked) -> Iterator[tuple[Kind, Hole]]:
    """What can be asked for there: about its message if it has one. Looks at the syntax only."""
    for kind in KINDS:
        hole = kind.find(asked) if kind.is_about_message == bool(asked.message) else None
        if hole is not None and hole.n_lines <= MAX_LINES:
            yield kind, hole


async def write(
    hole: Hole,
    request: CompletionRequest[Model],
    cancellation: Cancellation,
    *,
    on_texts: OnTexts = lambda _texts: None,
) -> Rewrite:
    """Let the model fill a hole, with the model, settings and workspace of `request`.

    Raises `EngineError`; nothing of use is an empty text.
    """
    model = request.model
    request = evolve(request, settings=_settings_for_rewrites(request.settings, model.prompts.n_context))
    cursor, window, prompt = await in_background(_choose_prompt, hole, request)
    rule = stop_rule(cursor)
    generation = await generate(
        model.engine,
        generation_request(evolve(request, snapshot=window.snapshot), prompt),
        model.tokenizer.piece,
        lambda text: "end" if _end_of(text, hole) is not None else rule(text),
        cancellation,
        on_texts=on_texts,
    )
    return await in_background(_finished, hole, cursor, window, generation)


def _settings_for_rewrites(settings: Settings, n_context: int) -> Settings:
    """More tokens and more time than for a suggestion, and nothing is withheld: the user asked for it."""
    completion = evolve(
        settings.completion,
        max_tokens=max(settings.completion.max_tokens, min(N_NEW_TOKENS, int(n_context * CONTEXT_SHARE))),
        timeout_ms=max(TIMEOUT_MS, settings.completion.timeout_ms),
        min_confidence=-math.inf,
    )
    return evolve(settings, completion=completion)


def _choose_prompt(hole: Hole, request: CompletionRequest[Model]) -> tuple[CursorContext, Window, Prompt]:
    """The text without what is in the hole, what the model is to see of it, and that as token ids."""
    given = hole.hint + hole.lead
    snapshot = spliced(hole.snapshot, hole.start_byte, hole.end_byte, given + hole.trail)
    cursor_byte = hole.start_byte + len(given)
    cursor = evolve(describe_cursor(snapshot, cursor_byte, "always"), floor=hole.floor)
    window = _choose_window(evolve(request, snapshot=snapshot, cursor_byte=cursor_byte))
    return cursor, window, build_prompt(window, request.model)


def _finished(hole: Hole, cursor: CursorContext, window: Window, generation: Generation) -> Rewrite:
    """What was written, made to fit the hole."""
    generation = evolve(generation, written=tuple(_ended(one, hole) for one in generation.written))
    completion = to_completion(window, cursor, generation)
    nothing = Rewrite(hole.snapshot, hole.start_byte, hole.end_byte, "", hole.is_new_file, completion)
    if not completion.items:
        return nothing
    n_replaced = completion.items[0].n_replaced_bytes  # of the trail, and of what is behind it
    text = hole.lead.decode() + completion.text + hole.trail[n_replaced:].decode()
    end_byte = hole.end_byte + max(0, n_replaced - len(hole.trail))
    if _is_broken(text, end_byte, hole):
        return evolve(nothing, completion=evolve(completion, items=(), reason="not whole"))
    return evolve(nothing, end_byte=end_byte, text=text)


def _is_broken(text: str, end_byte: int, hole: Hole) -> bool:
    """Whether a file without syntax errors would have some, or what is written ends with the header of a function."""
    before = hole.snapshot.syntax
    syntax = spliced(hole.snapshot, hole.start_byte, end_byte, text.encode()).syntax
    if syntax is None or before is None:
        return False
    scopes = syntax.enclosing_scopes(hole.start_byte + len(text.rstrip().encode()) - 1)
    last = scopes[-1] if scopes and language_of(hole.snapshot).blocks == "indent" else None
    ends_with_header = last and hole.start_byte <= last.start_byte and last.body_start_byte == last.end_byte
    return bool(ends_with_header or (syntax.error_count() and not before.error_count()))


def _choose_window(request: CompletionRequest[Model]) -> Window:
    """The window of a text that nobody wrote yet, which is not remembered.

    An earlier one serves only if it shows exactly what is behind: a few letters more would be those that are hidden.
    """
    model, data = request.model, request.snapshot.text.data
    window = choose_window(evolve(request, model=evolve(model, anchors=model.anchors.copy())))
    if normalized(data[request.cursor_byte :]).startswith(window.text_after_cursor):
        return window
    return choose_window(evolve(request, model=evolve(model, anchors=Anchors())))


def _end_of(text: bytes, hole: Hole) -> int | None:
    """Where what is written ends by the hole's own rule, or with the first turn of a loop."""
    found = hole.end.search(text) if hole.end is not None else None
    if found is not None:
        return found.start()
    loops = (loop for loop in LOOP.finditer(text) if len(loop[1].strip()) >= MIN_LOOP_BYTES)
    return next((loop.end(1) for loop in loops), None)


def _ended(written: CompletionOutput, hole: Hole) -> CompletionOutput:
    """What was written up to its end; here its last line counts as a whole one."""
    end = _end_of(written.text + b"\n", hole)
    return written if end is None else evolve(written, text=written.text[:end], stop_reason="end")
