"""Turn the model's text into a suggestion by an ordered tuple of pure filters, which shorten or drop and never add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache

from attrs import frozen

from starcoder_lsp.suggestions.cursor_context import CursorContext, indent_width
from starcoder_lsp.suggestions.docstrings import docstring_start
from starcoder_lsp.suggestions.docstrings import prepare as prepare_docstrings
from starcoder_lsp.suggestions.fitting import fit
from starcoder_lsp.suggestions.lines import repeated_line, scope_end, unmatched_closer
from starcoder_lsp.suggestions.loops import loop_start
from starcoder_lsp.suggestions.reindent import reindented
from starcoder_lsp.suggestions.suggestion import Suggestion, n_whole_bytes
from starcoder_lsp.suggestions.trial import TrialText
from starcoder_lsp.suggestions.unwanted import LICENCE, chatter_start, has_secret
from starcoder_lsp.suggestions.words import glues, join, without_tail

Filter = Callable[[Suggestion, CursorContext], Suggestion]
N_HEAD_BYTES = 500
"""The bytes above the cursor in which the head of a licence is searched."""


class Effect(StrEnum):
    """The kind of effect of a filter on a suggestion."""

    KEPT = "kept"
    CUT = "cut"
    """Shortened by `n_bytes`."""
    DROPPED = "dropped"
    REPLACES = "replaces"
    """Kept; it replaces `n_bytes` behind the cursor."""


@frozen
class FilterEffect:
    """The effect of the filter called `name`. `str` describes it."""

    name: str
    effect: Effect
    n_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.effect} {self.n_bytes} bytes" if self.n_bytes else self.effect


def likely_enough(suggestion: Suggestion, _cursor: CursorContext) -> Suggestion:
    """Drop a suggestion with a lower confidence than `completion.minConfidence`."""
    return suggestion.cut(0 if suggestion.stop_reason == "low_confidence" else None)


def whole_characters(suggestion: Suggestion, _cursor: CursorContext) -> Suggestion:
    """Cut a character that the last token left unfinished, and everything from the first byte that is not UTF-8."""
    return suggestion.cut(n_whole_bytes(suggestion.text))


def within_line(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Cut everything behind the first line if only one is allowed."""
    end = suggestion.text.find(b"\n")
    return suggestion.cut(end if cursor.one_line and end >= 0 else None)


def whole_lines(suggestion: Suggestion, _cursor: CursorContext) -> Suggestion:
    """Cut a last line that the model did not finish, if it is not the only one.

    A header whose block would then be empty, such as an `if`, is cut, too.
    """
    lines = suggestion.text.split(b"\n")
    if not suggestion.is_unfinished or not b"".join(lines[:-1]).strip():
        return suggestion
    inner = lines.pop()
    while len(lines) > 1 and (not lines[-1].strip() or indent_width(lines[-1]) < indent_width(inner)):
        line = lines.pop()
        inner = line if line.strip() else inner
    if not b"".join(lines).strip():
        return suggestion.cut(suggestion.text.rfind(b"\n"))
    return suggestion.cut(len(b"\n".join(lines)))


def within_scope(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Cut at the end of the enclosing scope, or at a bracket that the document closes already."""
    suggestion = suggestion.cut(unmatched_closer(suggestion.text, cursor))
    return suggestion.cut(scope_end(suggestion.text, cursor))


def before_repeat(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Cut before a repetition of the first line below, and before a loop."""
    suggestion = suggestion.cut(repeated_line(suggestion.text, cursor))
    return suggestion.cut(loop_start(suggestion.text, cursor))


def without_chatter(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Cut before a comment with a file's name or the head of a licence, unless the cursor is in one."""
    marker = (cursor.language.line_comment or "").encode()
    start = chatter_start(cursor.line_before + suggestion.text, marker)
    head = max(0, cursor.cursor_byte - N_HEAD_BYTES)
    if start is None or LICENCE.search(cursor.snapshot.text.data, head, cursor.cursor_byte):  # the search takes 0.1 ms
        return suggestion
    return suggestion.cut(max(0, start - len(cursor.line_before)))


def without_docstring(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Drop a docstring in place of a body, in files whose functions have none."""
    return suggestion.cut(docstring_start(suggestion.text, cursor))


def without_secrets(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Drop a suggestion with a string shaped like a secret: it is either a real, memorized secret or of no use."""
    return suggestion.cut(0 if has_secret(cursor.line_before + suggestion.text) else None)


def without_repeated_tail(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Cut or replace a repetition of the text behind the cursor on its line, or of its closing brackets."""
    return without_tail(suggestion, cursor)


def whole_words(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Drop a repetition of the text behind the cursor, and cut a word that would join the word there."""
    return join(suggestion, cursor)


def fitting_syntax(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Cut to the longest part that adds no syntax error; drop the part if it repeats the line below."""
    fitted = fit(suggestion, cursor)
    return fitted.cut(repeated_line(fitted.text.rstrip(), cursor))


def _fitting_whole(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Keep a suggestion that adds no syntax error as a whole, and drop any other without trying parts of it."""
    fitted = fit(suggestion, cursor, only_whole=True)
    return fitted.cut(repeated_line(fitted.text.rstrip(), cursor))


def visible(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Cut white space at the end, unless a word follows; drop a suggestion of white space alone."""
    seen = suggestion.cut(len(suggestion.text.rstrip()))
    return suggestion if seen.text and glues(seen, cursor) and not suggestion.text.endswith(b"\n") else seen


FILTERS: tuple[Filter, ...] = (
    likely_enough,
    whole_characters,
    within_line,
    whole_lines,
    within_scope,
    before_repeat,
    without_chatter,
    without_docstring,
    without_secrets,
    without_repeated_tail,
    whole_words,
    fitting_syntax,
    visible,
)


Effects = tuple[FilterEffect, ...]
Result = tuple[Suggestion, Effects]
"""A suggestion after the filters, and the effect of each filter."""


def postprocess(suggestion: Suggestion, cursor: CursorContext, filters: Sequence[Filter] = FILTERS) -> Result:
    """Indent as the file does, and run the filters in order; once for each text of a request."""
    if filters is not FILTERS:
        return _filtered(suggestion, cursor, filters)
    key = _key(suggestion, cursor)
    if key not in cursor.memo:
        cursor.memo[key] = _filtered(suggestion, cursor, filters)
    return cursor.memo[key]  # type: ignore[return-value]  # other rules have keys of other types


def is_postprocessed(suggestion: Suggestion, cursor: CursorContext) -> bool:
    """Return whether the result of `postprocess` is known, so that it takes no time."""
    return _key(suggestion, cursor) in cursor.memo


def _key(suggestion: Suggestion, cursor: CursorContext) -> object:
    """Return the key of a result: the variants of a cursor share a memo."""
    return suggestion, cursor.one_line, cursor.may_open, cursor.floor, cursor.allows_docstring


def _filtered(suggestion: Suggestion, cursor: CursorContext, filters: Sequence[Filter]) -> Result:
    if filters is not FILTERS:
        return _run(filters, *_indented(suggestion, cursor))
    unfitted, effects, after = _until_fitting(suggestion, cursor)
    shown, more = _run(FILTERS[_N_BEFORE_FITTING:], unfitted, after)
    return shown, effects + more


def _indented(suggestion: Suggestion, cursor: CursorContext) -> tuple[Suggestion, CursorContext]:
    """Indent a suggestion as the file does, and return the context behind its first line."""
    text = reindented(suggestion.text, cursor)
    return Suggestion(text, suggestion.stop_reason, suggestion.n_replaced_bytes), cursor.after(text.partition(b"\n")[0])


def _run(filters: Sequence[Filter], suggestion: Suggestion, cursor: CursorContext) -> Result:
    """Run filters in order."""
    effects = []
    for apply in filters:
        shorter = apply(suggestion, cursor)
        effects.append(_effect_of(apply, suggestion, shorter))
        suggestion = shorter
    return suggestion, tuple(effects)


def _until_fitting(suggestion: Suggestion, cursor: CursorContext) -> tuple[Suggestion, Effects, CursorContext]:
    """Run the filters before `fitting_syntax`, once for each text: it is judged as a whole first, and then in parts."""
    key = _until_fitting, _key(suggestion, cursor)
    if key not in cursor.memo:
        indented, after = _indented(suggestion, cursor)
        cursor.memo[key] = (*_run(FILTERS[:_N_BEFORE_FITTING], indented, after), after)
    return cursor.memo[key]  # type: ignore[return-value]  # as in `postprocess`


def _effect_of(apply: Filter, before: Suggestion, after: Suggestion) -> FilterEffect:
    name = fitting_syntax.__name__ if apply is _fitting_whole else apply.__name__
    if after is before and not after.n_replaced_bytes:
        return _kept(name)
    n_cut = len(before.text) - len(after.text)
    if n_cut:
        return FilterEffect(name, Effect.CUT, n_cut) if after.text else FilterEffect(name, Effect.DROPPED)
    if after.n_replaced_bytes:
        return FilterEffect(name, Effect.REPLACES, after.n_replaced_bytes)
    return FilterEffect(name, Effect.KEPT)


@cache
def _kept(name: str) -> FilterEffect:
    return FilterEffect(name, Effect.KEPT)


def prepare(cursor: CursorContext) -> None:
    """Compute the parts of the filters that depend on the document alone, before the model's text is known."""
    prepare_docstrings(cursor)
    if not cursor.one_line:
        cursor.indentation()
    if cursor.snapshot.syntax is not None:
        TrialText.of(cursor).prepare()


_N_BEFORE_FITTING = FILTERS.index(fitting_syntax)
_WHOLE_END = (_fitting_whole, *FILTERS[_N_BEFORE_FITTING + 1 :])


def is_whole(text: bytes, stop_reason: str, cursor: CursorContext) -> bool:
    """Return whether no filter cuts the model's text for its syntax before the end of its first line."""
    written = Suggestion(text, stop_reason)
    if written.is_unfinished and b"\n" not in text:
        return False
    unfitted, effects, after = _until_fitting(written, cursor)
    if not unfitted.text or _is_cut(effects, before_repeat):
        return False
    shown, more = _run(_WHOLE_END, unfitted, after)
    if not shown.text or _is_cut(more, fitting_syntax):
        return False
    cursor.memo[_key(written, cursor)] = shown, effects + more  # all filters return the same
    return True


def _is_cut(effects: Effects, by: Filter) -> bool:
    return any(each.name == by.__name__ and each.effect in (Effect.CUT, Effect.DROPPED) for each in effects)
