"""Check the statements around an edit with a language's own parser, which is stricter than tree-sitter's.

tree-sitter repairs errors. `languages.toml` names the other parser, which gets the smallest whole statements around
the edit that the tree shows.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

    from starcoder_lsp.documents.languages import Language
    from starcoder_lsp.documents.text import Text

MAX_BYTES: Final = 8192
"""Larger statements are accepted without a check: `ast` takes 0.9 ms for 8 KB of Python."""


@frozen
class _Parser:
    """A parser for whole lines, and the grammar's nodes for statements and lists of statements."""

    check: Callable[[bytes, bytes], bool]
    """Called with the lines, and with the blanks that the next line of code begins with."""
    statement: re.Pattern[str]
    block: re.Pattern[str]


def accepts(language: Language, text: Text, tree: Tree, start_byte: int, end_byte: int) -> bool:
    """Return whether the language's own parser accepts the statements on the lines of `start_byte` to `end_byte`.

    Return true for a language without such a parser, and for statements that are too large.
    """
    parser = _PARSERS.get(language.parser or "")
    if parser is None:
        return True
    start, end = _region(parser, text, tree, start_byte, end_byte)
    return end - start > MAX_BYTES or parser.check(text.data[start:end], _next_indent(text.data, end))


def _region(parser: _Parser, text: Text, tree: Tree, start_byte: int, end_byte: int) -> tuple[int, int]:
    """Return `(start_byte, end_byte)` of the statements that touch the lines of the bytes, in whole lines."""
    first, last = _code_span(text, start_byte, end_byte)
    node = tree.root_node.descendant_for_byte_range(first, max(first, last - 1))
    while node is not None and not (parser.statement.search(node.type) or parser.block.search(node.type)):
        node = node.parent
    if node is None:
        return text.line_span(text.line_of(first))[0], text.line_span(text.line_of(last))[1]
    parts: list[Node] = [node]
    if parser.block.search(node.type):
        parts = [child for child in node.children if child.end_byte > first and child.start_byte < last]
    start = min([first, *(part.start_byte for part in parts)])
    end = max([last, *(part.end_byte for part in parts)])
    return text.line_span(text.line_of(start))[0], text.line_span(text.line_of(end))[1]


def _code_span(text: Text, start_byte: int, end_byte: int) -> tuple[int, int]:
    """Return where the code of the lines of the bytes begins and ends, without the blanks around it."""
    first, last = text.line_span(text.line_of(start_byte))[0], text.line_span(text.line_of(end_byte))[1]
    code = text.data[first:last]
    begin = first + len(code) - len(code.lstrip())
    return begin, max(begin, first + len(code.rstrip()))


def _next_indent(data: bytes, end_byte: int) -> bytes:
    """Return the blanks that the next line of code begins with, of the next 512 bytes."""
    below = data[end_byte : end_byte + 512]
    code = below.lstrip()
    start = len(below) - len(code)
    return below[below.rfind(b"\n", 0, start) + 1 : start] if code else b""


def _is_python(code: bytes, next_indent: bytes) -> bool:
    r"""Return whether Python's parser accepts lines that may be indented, and may end with the header of a block.

    Bad UTF-8 and too deep nesting count as errors; nothing is raised.
    """
    if not code.strip():
        return True
    indent = code[: len(code) - len(code.lstrip(b" \t"))]
    lines = b"if 1:\n" + code if indent else code
    n_lines = lines.count(b"\n") + 1
    if next_indent.startswith(indent):  # a line below that is indented too far is this line's fault
        lines += b"\n" + next_indent + b"pass"
    try:
        _parse_python(lines)
    except IndentationError as error:
        return "expected an indented block" in str(error.msg) and (error.lineno or 0) >= n_lines
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _parse_python(code: bytes) -> None:
    import ast  # a millisecond that only documents in Python pay

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes, for example
        ast.parse(code)


_PARSERS: Final = {
    "ast": _Parser(_is_python, re.compile(r"_statement\Z|_definition\Z"), re.compile(r"\A(?:module|block)\Z")),
}
