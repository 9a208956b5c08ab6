"""Holes that are a piece of syntax, like those of SAFIM (arXiv:2403.04814), found by tree-sitter in any language.

Three kinds: `block` (the lines of a body of a function, loop or branch, at most `MAX_BLOCK_LINES`), `control` (the
condition of an `if` or `while`, or what a `for` goes through) and `call` (a call with its arguments). The grammars'
names for these are alike, so one list serves all languages; where a grammar has others there are no holes.
"""

from __future__ import annotations

import random
import re
from functools import cache
from typing import TYPE_CHECKING

from demo_model.holes import Hole
from starcoder_lsp.documents.languages import language_for, load_grammar
from starcoder_lsp.documents.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tree_sitter import Node

PARSE_MS = 5000.0
MAX_BLOCK_LINES = 12
MIN_CHARACTERS = 4
"""Of conditions and calls: shorter ones are names of one or two letters."""
MAX_CALL_CHARACTERS = 120
HOLES_A_FILE = 3
"""Holes of one kind that one file may give, so that no large file decides."""
BLOCKS = {
    "block",
    "body_statement",
    "compound_statement",
    "constructor_body",
    "do",
    "do_group",
    "statement_block",
    "then",
}
NOT_CODE = re.compile(r"class|struct|interface|enum|module|namespace|impl|trait|linkage")
"""In the type of a block's parent: what holds declarations."""
BRANCH = re.compile(r"^(el(se)?_?)?if|^elif|^while|^until|^unless|^do|^for|^c_style_for")
NO_BRANCH = re.compile(r"conditional|ternary|comprehension|in_clause")
GOES_THROUGH = re.compile(r"^(for|foreach|enhanced_for|range_clause)")
CALLS = {
    "call",
    "call_expression",
    "function_call_expression",
    "invocation_expression",
    "member_call_expression",
    "method_invocation",
    "scoped_call_expression",
}
Span = tuple[int, int]


def nodes_of(root: Node) -> Iterator[Node]:
    """Every named node, in order."""
    to_visit = [root]
    while to_visit:
        node = to_visit.pop()
        yield node
        to_visit.extend(reversed(node.named_children))


def block_of(node: Node, data: bytes) -> Iterator[Span]:
    """The lines inside a block, from the start of the first one to the end of the last one."""
    parent = node.parent
    if node.type not in BLOCKS or parent is None or NOT_CODE.search(parent.type) or not node.child_count:
        return
    first, last = node.child(0), node.child(node.child_count - 1)
    start = node.start_byte if first.is_named else first.end_byte
    end = node.end_byte if last.is_named else last.start_byte
    inner = data[start:end]
    code_start, code_end = start + len(inner) - len(inner.lstrip()), start + len(inner.rstrip())
    line_start = data.rfind(b"\n", 0, code_start) + 1
    line_end = data.find(b"\n", code_end) if b"\n" in data[code_end:] else len(data)
    has_code = any(not child.is_extra for child in node.named_children)
    is_apart = has_code and not data[line_start:code_start].strip() and not data[code_end:line_end].strip()
    if code_start < code_end and is_apart and data.count(b"\n", line_start, code_end) < MAX_BLOCK_LINES:
        yield line_start, code_end


def control_of(node: Node, data: bytes) -> Iterator[Span]:
    """The condition of a branch or loop, without its parentheses; what a loop goes through."""
    found: list[Node] = []
    if BRANCH.search(node.type) and not NO_BRANCH.search(node.type):
        found += node.children_by_field_name("condition")
    if GOES_THROUGH.search(node.type) and not NO_BRANCH.search(node.type):
        found += node.children_by_field_name("right") + node.children_by_field_name("value")
    for each in found:
        first = each.named_children[0] if each.type == "in" and each.named_children else each
        start, end = first.start_byte, each.end_byte
        if each.type in {"parenthesized_expression", "condition_clause"} and data[start : start + 1] == b"(":
            start, end = start + 1, end - 1
        text = data[start:end]
        start, end = start + len(text) - len(text.lstrip()), start + len(text.rstrip(b" ;"))
        if end - start >= MIN_CHARACTERS and b"\n" not in data[start:end]:
            yield start, end


def call_of(node: Node, data: bytes) -> Iterator[Span]:
    """A call on one line, with at least one argument."""
    arguments = node.child_by_field_name("arguments") if node.type in CALLS else None
    if arguments is not None and arguments.named_child_count:
        start, end = node.start_byte, node.end_byte
        if MIN_CHARACTERS <= end - start <= MAX_CALL_CHARACTERS and b"\n" not in data[start:end]:
            yield start, end


KINDS: dict[str, Callable[[Node, bytes], Iterator[Span]]] = {
    "block": block_of,
    "control": control_of,
    "call": call_of,
}


@cache
def spans_of(text: str, language: str) -> dict[str, list[Span]]:
    """Return the places of the holes of each kind in a file, in bytes.

    Nowhere if there is no grammar; nodes with errors in them are left out.
    """
    grammar = load_grammar(language_for(language, ""))
    data = text.encode()
    tree = parse(grammar, data, None, PARSE_MS) if grammar is not None else None
    found: dict[str, dict[Span, None]] = {kind: {} for kind in KINDS}
    for node in nodes_of(tree.root_node) if tree is not None else ():
        for kind, spans in KINDS.items() if not node.has_error else ():
            found[kind].update(dict.fromkeys(spans(node, data)))
    return {kind: list(spans) for kind, spans in found.items()}


def cut_out(text: str, span: Span) -> Hole:
    """Make the hole of a span."""
    data = text.encode()
    return Hole(*(part.decode() for part in (data[: span[0]], data[slice(*span)], data[span[1] :])))


def pick_syntax_holes(texts: Sequence[str], language: str, kind: str, n_holes: int, seed: int) -> list[Hole]:
    """Draw holes of `kind` from files in random order, `HOLES_A_FILE` from each at most."""
    rng = random.Random(f"{kind} {seed}")
    holes: list[Hole] = []
    for text in rng.sample(list(texts), len(texts)):
        if len(holes) >= n_holes:
            break
        spans = spans_of(text, language)[kind]
        holes += [cut_out(text, span) for span in rng.sample(spans, min(len(spans), HOLES_A_FILE))]
    return holes[:n_holes]
