"""Texts with very long lines: they get no tree, and rules and windows read only a part of them."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.context.caching_tokenizer import MAX_PIECE_BYTES, CachingTokenizer
from starcoder_lsp.context.new_window import new_window
from starcoder_lsp.context.window import Budget
from starcoder_lsp.documents import text as text_module
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.languages import Language
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import Text, is_inside_character
from starcoder_lsp.engine import tokens
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.tokens import Tokenizer
from starcoder_lsp.suggestions import lines
from starcoder_lsp.suggestions.cursor_context import describe_cursor
from starcoder_lsp.suggestions.indentation import N_AROUND_LINES, indentation_of
from starcoder_lsp.suggestions.postprocess import prepare
from starcoder_lsp.suggestions.stopping import TextEnd, stop_rule

UNITS = ["a=b+(c);", "1, ", "/*", "a/*.c ", "'\"", "`'\"", "(", "((]]"]


@given(
    lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\r" not in line and b"\n" not in line)),
    n=st.integers(0, 12),
)
def test_a_long_line_is_recognized(lines: list[bytes], n: int) -> None:
    data = b"\n".join(lines)
    assert Text.from_bytes(data).has_line_over(n) == any(len(line) > n for line in data.splitlines(keepends=True))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("language", ["python", "javascript", "shellscript", "php"])
def test_a_text_with_a_long_line_has_no_tree(language: str, unit: str) -> None:
    text = "first = 1\n" + unit * (200_000 // len(unit)) + "\nlast = 2\n"
    syntax = Documents().open("file:///case", language, 1, text).syntax
    assert syntax is not None
    assert syntax.tree is None
    assert syntax.enclosing_scopes(len(text)) == ()
    assert syntax.imports() == ()


def test_a_text_of_many_short_lines_has_a_tree() -> None:
    syntax = Documents().open("file:///case", "python", 1, "value = 1  # a line\n" * 10_000).syntax
    assert syntax is not None
    assert syntax.tree is not None
    assert syntax.error_count() == 0


LONG = {
    "letters": "word ",
    "one word": "w",
    "characters of two units": "a😀",
    "blanks": " ",
    "digits": "1",
    "code": "a=b+(c);",
}
N_LONG_BYTES = 400_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("n_piece_bytes", [4, 5, 64])
@given(line=st.text(max_size=60))
def test_positions_do_not_depend_on_the_size_of_pieces(
    line: str, n_piece_bytes: int, encoding: Literal["utf-8", "utf-16", "utf-32"]
) -> None:
    text = Text.from_str("x\n" + line)
    n_characters = len(line) * 4
    whole = [text.byte_at(1, n, encoding) for n in range(n_characters)]
    places = [text.position_of(byte, encoding) for byte in range(len(text.data) + 1)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(text_module, "_PIECE_BYTES", n_piece_bytes)
        assert [text.byte_at(1, n, encoding) for n in range(n_characters)] == whole
        assert [text.position_of(byte, encoding) for byte in range(len(text.data) + 1)] == places


@define
class Counting:
    """A tokenizer that counts the bytes that it tokenizes."""

    tokenizer: Tokenizer
    n_bytes: int = 0

    @property
    def line_cut(self) -> re.Pattern[bytes] | None:
        return self.tokenizer.line_cut

    def encode(self, text: bytes) -> tuple[int, ...]:
        self.n_bytes += len(text)
        return self.tokenizer.encode(text)

    def piece(self, token_id: int) -> bytes:
        return self.tokenizer.piece(token_id)

    def marker(self, text: str) -> int | None:
        return self.tokenizer.marker(text)

    def spelling(self, token_id: int) -> bytes:
        return self.tokenizer.spelling(token_id)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("unit", LONG.values(), ids=LONG)
def test_choosing_a_window_in_a_long_line_tokenizes_little_more_than_the_window(
    prompts: PromptModel, unit: str, share: float
) -> None:
    text = "first = 1\n" + unit * (N_LONG_BYTES // len(unit.encode())) + "\nlast = 2\n"
    snapshot = Documents().open("file:///case", "plaintext", 1, text)
    cursor_byte = int(len(snapshot.text.data) * share)
    while is_inside_character(snapshot.text.data, cursor_byte):
        cursor_byte -= 1
    tokenizer = Counting(prompts.tokenizer)
    budget = Budget(1024, 0.2)
    window = new_window(snapshot, cursor_byte, budget, CachingTokenizer(tokenizer))
    shown = b"".join((window.prefix.text, window.middle.text, window.suffix.text))
    assert window.n_tokens <= budget.n_tokens
    assert len(shown) > min(share, 0.5) * budget.n_tokens  # wherever there is text, at least half a byte a token
    # Twice as much text is tokenized at each try, before it is cut, and a piece of a line counts as one more line.
    assert tokenizer.n_bytes <= 12 * len(shown) + 24 * tokens.MAX_LINE_BYTES


@pytest.mark.parametrize("unit", LONG.values(), ids=LONG)
def test_a_long_line_is_not_tokenized_ahead(prompts: PromptModel, unit: str) -> None:
    tokenizer = Counting(prompts.tokenizer)
    text = b"first = 1\n" * 9 + unit.encode() * (N_LONG_BYTES // len(unit.encode())) + b"\nlast = 2\n" * 9
    for _ in CachingTokenizer(tokenizer).learn(text):
        pass
    assert tokenizer.n_bytes <= 4 * MAX_PIECE_BYTES


def test_the_stop_rule_parses_a_limited_part_of_a_long_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs on the event loop, so it must not parse all of a function of a megabyte around the cursor."""
    before = "function f() {\n" + "  g(1);\n" * 50_000 + "  if (a) {"
    snapshot = Documents().open("file:///case", "javascript", 1, before + "\n  }\n}\n")
    cursor = describe_cursor(snapshot, len(before.encode()), "auto")
    assert cursor.scopes
    assert cursor.cursor_byte - cursor.scopes[-1].start_byte > lines.MAX_SCOPE_BYTES
    parsed: list[int] = []
    parse_fresh = Syntax.parse_fresh

    def counted(language: Language, text: Text, uri: str = "") -> Syntax:
        parsed.append(len(text.data))
        return parse_fresh(language, text, uri)

    monkeypatch.setattr(lines.Syntax, "parse_fresh", counted)
    stop = stop_rule(cursor)
    written = b"\n    h(2);\n  k(3);\n"
    reasons = [stop(written[:n]) for n in range(1, len(written) + 1)]
    assert any(reasons)
    assert parsed
    assert max(parsed) <= lines.MAX_SCOPE_BYTES + len(written)


def test_the_search_for_indentation_reads_few_lines() -> None:
    seen: list[bytes] = []
    data = b"a:\n    b\n" + b"{\n" * 20_000 + b"c\n" * 20_000

    def opens_body(line: bytes) -> bool:
        seen.append(line)
        return line.endswith(b"{")

    indentation_of(data, 30_000, b"", opens_body)
    assert len(seen) <= 2 * N_AROUND_LINES


def test_the_stop_rule_does_not_search_the_file_for_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query over 256 KB holds the interpreter's lock until it ends, so it does not run on the event loop."""
    before = "def f():\n    return 1\n\n\ndef g():\n"
    snapshot = Documents().open("file:///case", "python", 1, before)
    cursor = describe_cursor(snapshot, len(before), "auto")
    with monkeypatch.context() as patched:
        patched.setattr(Syntax, "definitions", lambda _self: pytest.fail("it looked"))
        assert stop_rule(cursor)(b'    """') is None
    prepare(cursor)
    assert stop_rule(cursor)(b'    """') == TextEnd.DOCSTRING
