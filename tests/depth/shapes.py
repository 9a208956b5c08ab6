"""Deeply nested text for a grammar, made from the grammar's own tokens. No grammar is named here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    import tree_sitter

DEPTHS: Final = (300, 2000)
"""More than fit a scanner's state of 1,024 bytes: 255 entries of four bytes, or 1,024 of one byte."""
MAX_INDENTED_DEPTH: Final = 600
"""The depth of shapes in which each line has one space more than the line before: 180 KB."""
_OPENS: Final = re.compile(r"[\"'`$#{(\[<%@:|>&*=~-]")
_OPENS_MORE: Final = re.compile(r"[{(\[<%$#:]")
_MAX_PAIRS: Final = 400
_MAX_TOKEN_CHARACTERS: Final = 24
_FIXED: Final = (
    *("> ", ">", "* ", "+ ", "- ", "-", "1. ", "1) ", "# ", "| ", "? ", ": ", "a: ", "[", "{", "(", "<a>", "<div>"),
    *('"${', '"#{', '"\\(', "`${", "'${", '"$(', "$(", "${", "#{", "%{", "{{", "{%", "<%", "<?", "<<", "<!--", "/*"),
    *("(*", "{-", "#|", "#[", "--[[", "%q(", "%w[", "%Q{", "r#", 'r#"', "f'{", 'f"{', "do ", "begin ", "if a ", "{|a|"),
    *(
        "<<A\n",
        "<<~A\n",
        "<<-'A' ",
        "cat <<E\n",
        "a <<< ",
        "let x = ",
        "where ",
        "of ",
        "\\begin{a}",
        ":::",
        "```",
        "~~~",
    ),
    *(
        "a(",
        "a[",
        "a{",
        "a<",
        "a.",
        "a,",
        "a->",
        "a=>",
        "a?",
        "a:",
        "!",
        "~",
        "not ",
        "-x",
        "$",
        "@",
        "::",
        ";",
        '"',
        "'",
    ),
)
_INDENTED: Final = (
    *(
        "- ",
        "a:",
        "a: ",
        "- a:",
        "? ",
        "if x:",
        "if x then",
        "do",
        "where",
        "let",
        "of",
        "a",
        "* ",
        "1. ",
        "> ",
        "{",
        "(",
    ),
    *("div", "class A:", "case x of", "begin", "%a", ".a", "a =", "fn", "match x with", "module A ="),
)


@frozen
class Shape:
    """A text that repeats `unit` `depth` times; with `is_indented` each on a new line, one space further in."""

    unit: str
    depth: int
    is_indented: bool = False

    def text(self) -> bytes:
        """Return the text."""
        if self.is_indented:
            return "\n".join(" " * n + self.unit for n in range(self.depth)).encode()
        return (self.unit * self.depth).encode()


def shapes(grammar: tree_sitter.Language) -> Iterator[Shape]:
    """Yield every shape for a grammar: its tokens, pairs of its opening tokens, and openings of other languages."""
    tokens = _tokens(grammar)
    openers = [token for token in tokens if _OPENS.search(token)]
    inner = [token for token in tokens if _OPENS_MORE.search(token)]
    pairs = [a + b for a in openers for b in inner][:_MAX_PAIRS]
    units = dict.fromkeys((*_FIXED, *(token + end for token in tokens for end in ("", " ", "\n")), *pairs))
    for unit in units:
        for depth in DEPTHS:
            yield Shape(unit, depth)
    for unit in dict.fromkeys((*_INDENTED, *tokens)):
        yield Shape(unit, DEPTHS[0], is_indented=True)
        yield Shape(unit, MAX_INDENTED_DEPTH, is_indented=True)


def _tokens(grammar: tree_sitter.Language) -> list[str]:
    """Return the literal tokens of a grammar."""
    kinds = range(grammar.node_kind_count)
    names = (grammar.node_kind_for_id(kind) for kind in kinds if not grammar.node_kind_is_named(kind))
    return sorted({name for name in names if name and len(name) <= _MAX_TOKEN_CHARACTERS and name != "end"})
