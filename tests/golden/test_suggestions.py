"""Filters and the stop rule: the golden cases, and properties for any text."""

from __future__ import annotations

import re

import pytest
from attrs import frozen
from hypothesis import example, given
from hypothesis import strategies as st

from starcoder_lsp.documents.documents import Documents, language_of, spliced
from starcoder_lsp.documents.languages import language_for
from starcoder_lsp.suggestions.cursor_context import CursorContext, describe_cursor
from starcoder_lsp.suggestions.postprocess import FILTERS, Effect, postprocess
from starcoder_lsp.suggestions.stopping import TextEnd, stop_rule
from starcoder_lsp.suggestions.suggestion import Suggestion
from tests.golden.cases import GROUPS
from tests.golden.group import Group
from tests.golden.indented import INDENTED

FILTER_NAMES = [each.__name__ for each in FILTERS]
STOP_REASONS = list(TextEnd)


@frozen
class Case:
    """A parsed golden case: the text to be shown, and the number of bytes behind the cursor that it replaces."""

    group: Group
    cursor: CursorContext
    written: bytes
    shown: bytes
    n_replaced_bytes: int

    def with_(self, suggestion: Suggestion) -> str:
        """Return the document with the suggestion between `█` and `│`, and the replaced text in `⟦⟧`."""
        data, at = self.cursor.snapshot.text.data, self.cursor.cursor_byte
        end = at + suggestion.n_replaced_bytes
        replaced = b"\xe2\x9f\xa6" + data[at:end] + b"\xe2\x9f\xa7" if end > at else b""
        parts = (data[:at], "█".encode(), suggestion.text, "│".encode(), replaced, data[end:])
        return b"".join(parts).decode("utf-8", "backslashreplace")

    def stopped(self) -> Suggestion:
        """Return the model's text up to the stop; the stop rule is called after each character."""
        stop = stop_rule(self.cursor)
        for n in range(1, len(self.written) + 1):
            reason = stop(self.written[:n])
            if reason is not None:
                return Suggestion(self.written[:n], reason)
        return Suggestion(self.written, self.group.stop_reason)


def site_at(marked: str, language: str = "python", multiline: str = "auto") -> CursorContext:
    before, cursor, after = marked.partition("█")
    assert cursor, "the case has no cursor"
    snapshot = Documents().open("file:///case", language, 1, before + after)
    return describe_cursor(snapshot, len(before.encode()), multiline)


def read(group: Group, language: str, document: str, written: str) -> Case:
    replaced = re.search("█⟦(.*?)⟧", document)
    assert written.count("│") == 1, "the case does not say where the shown text ends"
    data = written.encode("utf-8", "surrogateescape")
    shown, _, rest = data.partition("│".encode())
    cursor = site_at(re.sub("[⟦⟧]", "", document), language, group.multiline)
    return Case(group, cursor, shown + rest, shown, len(replaced[1].encode()) if replaced else 0)


def params():
    cases = [(group, *case) for group in GROUPS for case in group.cases]
    return [pytest.param(*case, id=f"{n}-{case[0].about}-{case[1]}") for n, case in enumerate(cases)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("group", "language", "document", "written"), params())
def test_a_golden_case(group: Group, language: str, document: str, written: str, line_end: str) -> None:
    check(read(group, language, document.replace("\n", line_end), written))


def check(case: Case) -> None:
    cursor, expected = case.cursor, Suggestion(case.shown, n_replaced_bytes=case.n_replaced_bytes)
    shown, effects = postprocess(Suggestion(case.written, case.group.stop_reason), cursor)
    done = ", ".join(f"{each.name} {each}" for each in effects if each.effect is not Effect.KEPT)
    details = (
        f"\n{case.group.about}: {case.group.shows}\n--- to be shown\n{case.with_(expected)}"
        f"\n--- shown\n{case.with_(shown)}\n--- written\n{case.written!r}\n--- {done}"
    )
    assert shown.text == expected.text, details
    assert not shown.text or shown.n_replaced_bytes == expected.n_replaced_bytes, details
    assert n_errors(cursor, shown) <= n_errors(cursor, shown.cut(0)), f"adds a syntax error{details}"
    again, _ = postprocess(Suggestion(shown.text), cursor)
    assert shown.text.startswith(again.text), f"is another when it is filtered again{details}"
    stopped = case.stopped()
    early, _ = postprocess(stopped, cursor)
    assert (early.text, early.n_replaced_bytes) == (shown.text, shown.n_replaced_bytes), (
        f"{stopped.stop_reason} stops the model too early, at {stopped.text!r}{details}"
    )


def n_errors(cursor: CursorContext, suggestion: Suggestion) -> int:
    """Return the number of syntax errors in the document with the suggestion; 0 without a grammar."""
    n_replaced = suggestion.n_replaced_bytes if suggestion.text else 0
    at, end = cursor.cursor_byte, cursor.cursor_byte + n_replaced
    syntax = spliced(cursor.snapshot, at, end, cursor.embedded.masked(suggestion.text)).syntax
    if syntax is None:
        assert language_of(cursor.snapshot).grammar is None
        return 0
    assert syntax.tree is not None
    return syntax.error_count()


@pytest.mark.parametrize("about", [*FILTER_NAMES, *STOP_REASONS])
def test_each_rule_has_cases_in_which_it_acts_and_cases_in_which_it_does_not(about: str) -> None:
    groups = [group for group in GROUPS if group.about == about]
    assert {group.acts for group in groups} == {True, False}
    cases = [(group, case) for group in groups for case in group.cases]
    for group, case in cases:
        acted = acting(read(group, *case))
        assert group.acts == (about in acted), f"{case}: these acted: {', '.join(sorted(acted)) or 'none'}"


def acting(case: Case) -> set[str]:
    """Return the filters that change the suggestion, and the stop reason."""
    written = Suggestion(case.written, case.group.stop_reason)
    steps = [postprocess(written, case.cursor, FILTERS[:n])[0] for n in range(len(FILTERS) + 1)]
    changing = {name for name, before, after in zip(FILTER_NAMES, steps, steps[1:], strict=False) if before != after}
    return changing | {case.stopped().stop_reason}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(("language", "document", "written", "shown"), INDENTED)
def test_the_suggestion_has_the_files_indentation(
    language: str, document: str, written: str, shown: str, line_end: str
) -> None:
    cursor = site_at(document.replace("\n", line_end), language)
    assert postprocess(Suggestion(written.encode()), cursor)[0].text.decode() == shown
    assert postprocess(Suggestion(shown.encode()), cursor)[0].text.decode() == shown
    stop = stop_rule(cursor)
    stopped_at = next((n for n in range(1, len(written) + 1) if stop(written[:n].encode())), len(written))
    assert postprocess(Suggestion(written[:stopped_at].encode()), cursor)[0].text.decode() == shown


def test_there_are_enough_cases_of_enough_languages() -> None:
    cases = {(language, document, written) for group in GROUPS for language, document, written in group.cases}
    languages = {language_for(language, "") for language, *_ in (*cases, *INDENTED)}
    assert len(cases | set(INDENTED)) >= 600
    assert sum(language.grammar is not None for language in languages) >= 40
    assert {group.about for group in GROUPS} <= {*FILTER_NAMES, *STOP_REASONS}


def test_an_unfinished_character_is_cut() -> None:
    suggestion, effects = postprocess(Suggestion("x = é".encode()[:-1]), site_at("█"))
    assert suggestion.text == b"x"
    assert str(effects[1]) == "cut 1 bytes"


def test_every_filter_reports_its_effect() -> None:
    _, effects = postprocess(Suggestion(b"bar)"), site_at("x = foo(baz(█))"))
    assert [e.name for e in effects] == [f.__name__ for f in FILTERS]
    assert {e.name: str(e) for e in effects}["without_repeated_tail"] == "cut 1 bytes"


CODE = st.text(st.sampled_from("ab ()[]{}:\n\t\"'=é█").filter(lambda c: c != "█"), max_size=60)


@given(before=CODE, after=CODE, written=CODE)
def test_filters_shorten_or_drop_and_never_add_text(before: str, after: str, written: str) -> None:
    cursor = site_at(before + "█" + after)
    suggestion = Suggestion(written.encode())
    for apply in FILTERS:
        shorter = apply(suggestion, cursor)
        assert suggestion.text.startswith(shorter.text)
        suggestion = shorter


@given(before=CODE, after=CODE, written=CODE)
def test_filtering_twice_changes_nothing(before: str, after: str, written: str) -> None:
    cursor = site_at(before + "█" + after)
    once, _ = postprocess(Suggestion(written.encode()), cursor)
    assert once.text.startswith(postprocess(Suggestion(once.text), cursor)[0].text)


SOME_LINES = [
    *("", "  ", "}", "};", "})", "] ", "    }", "    ],", ") {", "} else {", '"""', "foo(", "case 1:"),
    *(
        "return a",
        "return ab",
        "    return a",
        "    return ab",
        "    a()",
        "    a();",
        "        b",
        "    if x:",
        "if x {",
    ),
]
LINES = st.lists(st.sampled_from(SOME_LINES), max_size=8).map("\n".join)


@given(
    before=CODE | LINES,
    after=CODE | LINES,
    written=CODE | LINES,
    language=st.sampled_from(["python", "rust", "ruby"]),
    multiline=st.sampled_from(["auto", "always"]),
)
@example(before="a\n", after=")", written="'a)'", language="rust", multiline="auto")
@example(before="a\n", after=")", written="/*)*/", language="rust", multiline="auto")
@example(before="a\n", after=")", written="'a)", language="rust", multiline="auto")
def test_generation_does_not_stop_before_the_end_of_the_shown_text(
    before: str, after: str, written: str, language: str, multiline: str
) -> None:
    """The text up to the first stop gives the same suggestion as the whole text."""
    cursor = site_at(before + "█" + after, language, multiline)
    stop = stop_rule(cursor)
    data = written.encode()
    shown, _ = postprocess(Suggestion(data), cursor)
    stopped_at = next((n for n in range(1, len(data) + 1) if stop(data[:n])), len(data))
    assert postprocess(Suggestion(data[:stopped_at]), cursor)[0] == shown
