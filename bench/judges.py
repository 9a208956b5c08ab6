"""Judge suggestions without the filters' code: whether the file parses, a word is doubled, or the text loops.

Python files are judged by Python's own parser, others by tree-sitter's errors and missing nodes.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from tree_sitter import Node, Parser, Tree

from starcoder_lsp.documents.languages import Language, load_grammar

MIN_LOOP = ((1, 4), (8, 3))
"""Repetitions that make a loop: four of a unit with a character other than space, three of one of eight characters."""
MIN_SINGLE = 6
"""Repetitions of a single word or number: `margin: 0 0 0 0` is no loop. Brackets alone make none."""
MAX_UNIT_TOKENS = 12
TOKEN = re.compile(r"\w+|[^\w\s]")
RULER = re.compile(r"[-=*#~_./| :]+")
MIN_DOUBLED_CHARACTERS = 3


def n_faults(language: Language, text: str) -> int | None:
    """Return the number of errors in `text`: 0 or 1 for Python, of nodes for others; `None` without a parser."""
    if language.id == "python":
        return int(not _is_python(text))
    grammar = load_grammar(language)
    if grammar is None:
        return None
    tree = Parser(grammar).parse(text.encode())
    n_bad = sum(node.is_error or node.is_missing for node in _nodes(tree))
    return n_bad or int(tree.root_node.has_error)


def _is_python(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _nodes(tree: Tree) -> Iterator[Node]:
    to_visit = [tree.root_node]
    while to_visit:
        node = to_visit.pop()
        yield node
        to_visit.extend(node.children if node.has_error else ())


def doubles_a_word(before: str, written: str, after: str) -> bool:
    """Return whether `written`, between `before` and `after`, repeats the text behind it.

    That is a word that joins the rest of another to a word that occurs nowhere else in the file, the whole beginning of
    the rest of the line, or that rest at the end of `written`.
    """
    text, rest = written.rstrip("\n"), after.split("\n", 1)[0]
    if not text.strip() or not rest.strip():
        return False
    tail, head = _last_word(text), _last_word(rest[::-1])[::-1]
    if tail and head:
        word = (_last_word(before) if tail == text else "") + tail + head
        if tail.endswith(head) or not re.search(rf"\b{re.escape(word)}\b", before + "\n" + after):
            return True
    bare = rest.strip().rstrip(")]};:,")
    shown = text.strip()
    is_again = len(bare) >= MIN_DOUBLED_CHARACTERS and shown.endswith(bare)
    is_begun = len(shown) >= MIN_DOUBLED_CHARACTERS and re.match(r"\w", shown) and rest.startswith(shown)
    return bool(is_again or is_begun)


def _last_word(text: str) -> str:
    """Return the word that a text ends with, or an empty text."""
    return re.split(r"\W", text)[-1]


def loops(before: str, written: str, after: str) -> bool:
    """Return whether a line of `written` repeats the same tokens several times, and no other line of the file does.

    Rulers in comments are no loops, nor are texts that the file has elsewhere, such as a table's next row.
    """
    elsewhere = f"{before.rpartition(chr(10))[0]}\n{after.partition(chr(10))[2]}"
    lines = (before.rpartition("\n")[2] + written + after.partition("\n")[0]).split("\n")
    n_before = len(before.rpartition("\n")[2])
    for number, line in enumerate(lines):
        loop = _loop(line, n_before if number == 0 else 0)
        if loop is not None and loop not in elsewhere:
            return True
    full = [line.strip() for line in lines if line.strip()]
    triples = zip(full, full[1:], full[2:], strict=False)
    return any(first == second == third and len(first) > 1 for first, second, third in triples)


def _loop(line: str, first: int) -> str | None:
    """Return the first loop that ends behind `first`, or `None`."""
    tokens = [(match.group(), match.end(), match.start()) for match in TOKEN.finditer(line)]
    for n_unit in range(1, MAX_UNIT_TOKENS + 1):
        run = 0
        for at in range(n_unit, len(tokens)):
            run = run + 1 if tokens[at][0] == tokens[at - n_unit][0] else 0
            unit = [token for token, _, _ in tokens[at - n_unit + 1 : at + 1]]
            n_wanted = next(n for n_least, n in reversed(MIN_LOOP) if len("".join(unit)) >= n_least)
            if n_unit == 1 and (unit[0].isalnum() or unit[0] in "()[]{}"):
                n_wanted = MIN_SINGLE if unit[0].isalnum() else len(tokens)
            if run >= n_unit * (n_wanted - 1) and tokens[at][1] > first:
                found = line[tokens[at - run - n_unit + 1][2] : tokens[at][1]]
                if not RULER.fullmatch(found):
                    return found
    return None
