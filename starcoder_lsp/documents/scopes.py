"""Scopes, imports and definitions of a parsed text, found by the queries in `grammars/`. Offsets, never nodes."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from starcoder_lsp.documents.languages import Language, QueryName, load_query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tree_sitter import Node, Tree

    from starcoder_lsp.documents.text import Text

_MAX_IMPORT_DEPTH: Final = 3
"""A `using` in the body of a namespace is this deep. Keeps the query off the rest of the file. Not measured."""
_MAX_DEFINITION_DEPTH: Final = 10
"""A method template of a class template in two namespaces inside an include guard is this deep. Not measured."""
_MAX_SIBLINGS: Final = 50
"""The most comments in a row that are skipped. Not measured; a bound for generated files."""
_MAX_OUTLINE_BYTES: Final = 256 * 1024
"""Imports and definitions that begin further down in a file are not found. Not measured."""
_CLOSERS: Final = (b"}", b"end")
_MAX_NAME_CHARACTERS: Final = 200
"""Longer names are the text of an expression, such as the left side of an assignment. Not measured."""
_TYPE_ARGUMENTS: Final = re.compile(r"<[^<>]*>")
_QUALIFIED: Final = re.compile(r"[\w$]+(?:(?:::|[.:])~?[\w$]+)*")

SCOPE_QUERIES: Final[tuple[QueryName, ...]] = ("scopes",)
IMPORT_QUERIES: Final[tuple[QueryName, ...]] = ("imports",)
DEFINITION_QUERIES: Final[tuple[QueryName, ...]] = ("scopes", "definitions")


@frozen
class Scope:
    """A function, class, module or other named thing of a source file.

    `kind` is the query's word for it: function, class or module, and for definitions also type or constant. All offsets
    are bytes. `start_byte` is the start of the first decorator or modifier, `header_end_byte` the end of the line on
    which the header ends (without its line ending), `body_start_byte` the start of the body, its opening brace
    included. Without a body `body_start_byte` is `end_byte`. `name` is "" for a scope without one.
    """

    kind: str
    name: str
    start_byte: int
    header_end_byte: int
    body_start_byte: int
    end_byte: int


@frozen(eq=False)
class ParsedText:
    """A text with its tree, on which queries can run."""

    language: Language
    text: Text
    tree: Tree


def short_name(name: str) -> str:
    """Return the word by which other code refers to a scope; "" if there is none.

    It is the last part of a qualified name, without type arguments, pointers, quotes, parameters and a sign before it:
    `clone` for `Box<T>::clone`, `g` for `M.g`, `handler` for `(*handler)(int)`, `size` for `$size`.
    """
    if name.isidentifier():
        return name
    plain = _TYPE_ARGUMENTS.sub("", _TYPE_ARGUMENTS.sub("", name[:_MAX_NAME_CHARACTERS]))
    found = _QUALIFIED.search(plain)
    return re.split(r"[.:~]+", found[0])[-1].lstrip("$") if found else ""


def enclosing_scopes(parsed: ParsedText, cursor_byte: int) -> tuple[Scope, ...]:
    """Return the scopes that text typed at `cursor_byte` belongs to, outermost first.

    In a language of indented blocks, a blank line below a body belongs to it as far as its indentation says. A scope
    whose closing brace is not typed yet goes on over white space and comments.
    """
    code_end = _code_end(parsed, cursor_byte)
    return tuple(
        scope
        for scope, node in _scopes(parsed, SCOPE_QUERIES, within=(max(code_end - 1, 0), cursor_byte + 1))
        if _is_inside(parsed, scope, node, cursor_byte, code_end)
    )


def behind_leads(parsed: ParsedText, byte: int) -> int:
    """Return the start of the definition in whose decorators or modifiers `byte` is; `byte` if it is in none."""
    query = load_query(parsed.language, "scopes")
    settings = [query.pattern_settings(pattern) for pattern in range(query.pattern_count)] if query is not None else []
    leads = {word for each in settings for word in (each.get("lead") or "").split()}
    node = parsed.tree.root_node.descendant_for_byte_range(byte, byte + 1)
    while node is not None and node.type not in leads:
        node = node.parent
    for _ in range(_MAX_SIBLINGS):
        if node is None or not (node.type in leads or node.is_extra):
            break
        node = node.next_sibling
    return node.start_byte if node is not None else byte


def comment_before(parsed: ParsedText, byte: int) -> tuple[int, int] | None:
    """Return `(start_byte, end_byte)` of the comment that only white space parts from `byte`, or `None`."""
    end = _rstripped(parsed.text.data, byte)
    node = parsed.tree.root_node.descendant_for_byte_range(end - 1, end) if end else None
    found = None
    while node is not None:
        found = (node.start_byte, end) if "comment" in node.type else found
        node = node.parent
    return found


def import_statements(parsed: ParsedText) -> tuple[tuple[int, int], ...]:
    """Return `(start_byte, end_byte)` of each import statement that is not inside a function, in order.

    Searches the first 256 KiB of the text.
    """
    nodes = chain.from_iterable(
        captures.get("import", ())
        for name in IMPORT_QUERIES
        for _, captures in _matches(parsed, name, max_depth=_MAX_IMPORT_DEPTH, within=(0, _MAX_OUTLINE_BYTES))
    )
    return tuple(sorted({(node.start_byte, node.end_byte) for node in nodes}))


def definitions(parsed: ParsedText) -> tuple[Scope, ...]:
    """Return every definition that is not inside a function, in order: other files can refer to these.

    Searches the first 256 KiB of the text.
    """
    found: list[Scope] = []
    function_end = 0
    within = 0, _MAX_OUTLINE_BYTES
    for scope, _ in _scopes(parsed, DEFINITION_QUERIES, max_depth=_MAX_DEFINITION_DEPTH, within=within):
        if scope.start_byte >= function_end and scope.name:
            found.append(scope)
            function_end = scope.end_byte if scope.kind == "function" else function_end
    return tuple(found)


def _matches(
    parsed: ParsedText, name: QueryName, *, max_depth: int | None = None, within: tuple[int, int]
) -> list[tuple[int, dict[str, list[Node]]]]:
    """Run a query from the nodes that are at most `max_depth` deep and touch the bytes `within`."""
    query = load_query(parsed.language, name)
    if query is None:
        return []
    from tree_sitter import QueryCursor

    def satisfies(
        predicate: str,
        args: list[tuple[str, Literal["capture", "string"]]],
        pattern_index: int,  # noqa: ARG001 -- the binding passes it by name
        captures: dict[str, list[Node]],
    ) -> bool:
        """Return whether a match satisfies `#one-of?`; `predicate` comes without the `#`."""
        (capture, _), *words = args
        node = captures[capture][0]
        word = parsed.text.data[node.start_byte : node.end_byte].decode("utf-8", "replace")
        return predicate == "one-of?" and word in {text for text, _ in words}

    cursor = QueryCursor(query)  # without its progress_callback: 0.26 reads a struct that is freed by then
    if max_depth is not None:
        cursor.set_max_start_depth(max_depth)
    cursor.set_byte_range(*within)
    return cursor.matches(parsed.tree.root_node, satisfies)


def _scopes(
    parsed: ParsedText, names: Iterable[QueryName], *, max_depth: int | None = None, within: tuple[int, int]
) -> list[tuple[Scope, Node]]:
    """Return the scopes that the queries find, outer before inner.

    Of several patterns that match one node, the one that gives a name counts, then the one that begins first.
    """
    found: dict[int, tuple[Scope, Node]] = {}
    for name in names:
        query = load_query(parsed.language, name)
        for pattern, captures in _matches(parsed, name, max_depth=max_depth, within=within):
            leads = (query.pattern_settings(pattern).get("lead") or "").split() if query is not None else []
            scope, node = _scope(parsed.text, captures, leads)
            known, _ = found.get(node.id, (None, None))
            if known is None or (scope.name != "", -scope.start_byte) > (known.name != "", -known.start_byte):
                found[node.id] = scope, node
    return sorted(found.values(), key=lambda each: (each[0].start_byte, -each[0].end_byte))


def _scope(text: Text, captures: dict[str, list[Node]], leads: Sequence[str]) -> tuple[Scope, Node]:
    parts = {capture.partition(".")[2]: nodes[0] for capture, nodes in captures.items()}
    name_node, body = parts.pop("name", None), parts.pop("body", None)
    (kind, node), *_ = ((part, node) for part, node in parts.items() if part)
    data = text.data
    start, end = _start_with_leads(node, leads), node.end_byte
    if body is None:
        last = _last_leaf(node)
        before = last.prev_sibling if data[last.start_byte : last.end_byte] in _CLOSERS else None
        header = body_start = before.end_byte if before is not None else end
    elif data.startswith(b"{", body.start_byte):
        header, body_start = body.start_byte + 1, body.start_byte
    else:
        header, body_start = _end_of_header(node, body), body.start_byte
    line_end = text.line_span(text.line_of(max(header - 1, start)))[1]
    name = data[name_node.start_byte : name_node.end_byte].decode("utf-8", "replace") if name_node is not None else ""
    return Scope(kind, name, start, max(header, min(line_end, end)), body_start, end), node


def _start_with_leads(node: Node, leads: Sequence[str]) -> int:
    """Return the start of `node` together with the siblings of the types `leads` right before it."""
    start = node.start_byte
    sibling = node.prev_sibling if leads else None
    for _ in range(_MAX_SIBLINGS):
        if sibling is None or not (sibling.type in leads or sibling.is_extra):
            break
        start = sibling.start_byte if sibling.type in leads else start
        sibling = sibling.prev_sibling
    return start


def _end_of_header(node: Node, body: Node) -> int:
    before = body.prev_sibling
    for _ in range(_MAX_SIBLINGS):
        if before is None or not (before.is_extra or before.is_error):  # a comment, or half a statement
            break
        before = before.prev_sibling
    return before.end_byte if before is not None else max(body.start_byte, node.start_byte)


def _last_leaf(node: Node) -> Node:
    while node.child_count:
        node = node.child(node.child_count - 1)
    return node


def _code_end(parsed: ParsedText, cursor_byte: int) -> int:
    """Return the end of the last token before the cursor that is no comment; 0 if there is none."""
    data, root = parsed.text.data, parsed.tree.root_node
    end = _rstripped(data, cursor_byte)
    for _ in range(_MAX_SIBLINGS):
        node = root.descendant_for_byte_range(end - 1, end) if end else None
        if node is None or not node.is_extra or node.is_error or node.start_byte >= end:
            break
        end = _rstripped(data, node.start_byte)
    return end


def _is_inside(parsed: ParsedText, scope: Scope, node: Node, cursor_byte: int, code_end: int) -> bool:
    if scope.start_byte < cursor_byte < scope.end_byte:
        return True
    if cursor_byte <= scope.start_byte:
        return False
    if parsed.language.blocks == "indent":
        return _is_below_body(parsed.text, scope, cursor_byte)
    return scope.end_byte >= code_end and _last_leaf(node).is_missing


def _is_below_body(text: Text, scope: Scope, cursor_byte: int) -> bool:
    """Return whether each line from an indented scope's end to the cursor's is indented more than its header."""
    line = text.line_of(cursor_byte)
    end_line = text.line_of(scope.end_byte)
    if line == end_line:
        return True
    line_start, line_end = text.line_span(line)
    if text.data[line_start:line_end].strip():
        indent = _indent(text.data[line_start:line_end])
    else:
        indent = cursor_byte - line_start
    between = (text.line_text(number) for number in range(end_line + 1, line))
    indents = [indent, *(_indent(other) for other in between if other.strip())]
    return min(indents) > _indent(text.line_text(text.line_of(scope.start_byte)))


def _rstripped(data: bytes, end: int) -> int:
    """Return the end of `data[:end]` without trailing white space. Copies 4 KiB at a time, not the whole text."""
    while end:
        start = max(end - 4096, 0)
        if tail := data[start:end].rstrip():
            return start + len(tail)
        end = start
    return 0


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip())
