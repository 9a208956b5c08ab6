"""Syntax trees that follow the text, and the few questions asked of them. Answers are offsets, never nodes.

A tree is made when somebody asks and not when somebody types, and it is made from the newest tree there is. Parsing has
a deadline and no duty: where there is no tree, for whatever reason, each question has an empty answer and the window
falls back to lines. What a scope or an import is in some language stands in ``grammars/``, not here.
"""

from __future__ import annotations

import logging
import threading
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal

from attrs import astuple, evolve, frozen

from starcoder_lsp.documents.languages import Language, QueryName, load_grammar, load_query
from starcoder_lsp.documents.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tree_sitter import Node, Tree

    from starcoder_lsp.documents.text import InputEdit, Text

FIRST_PARSE_MS: Final = 500.0  # 229 KB of Python take 17 ms
REPARSE_MS: Final = 50.0  # a keystroke in them takes 3 ms

_MAX_PENDING_EDITS: Final = 1000  # beyond, a fresh parse is no dearer than all of them on an old tree
_MAX_TIMEOUTS: Final = 5
_IMPORT_DEPTH: Final = 3  # a `using` in the body of a namespace; keeps the query off the rest of the file
_DEFINITION_DEPTH: Final = 8  # a method of a class template in a namespace inside an include guard
_MAX_SIBLINGS: Final = 50  # comments in a row that are looked past
_MAX_DAMAGED_NODES: Final = 10_000
_MAX_LOOSE_TOKENS: Final = 5000  # unnamed and in one error: a query's time goes by their square, here some 30 ms
_SURVEY_BYTES: Final = 256 * 1024  # how far into a file its imports and definitions are looked for
_CLOSERS: Final = (b"}", b"end")

logger = logging.getLogger(__name__)


@frozen
class Scope:
    """A function, class, module or other named thing of a source file.

    ``kind`` is what the query calls it: function, class, module, and of definitions also type or constant. All offsets
    are bytes: ``start_byte`` is that of the first decorator or modifier, ``header_end_byte`` the end of the line on
    which the header ends (without its line ending), ``body_start_byte`` that of the body, its opening brace included.
    Without a body ``body_start_byte`` is ``end_byte``. ``name`` is "" for what has none.
    """

    kind: str
    name: str
    start_byte: int
    header_end_byte: int
    body_start_byte: int
    end_byte: int


@frozen(eq=False)
class _Base:
    """What a parse starts from: the newest tree at hand and the edits since. And how often in a row none came of it."""

    tree: Tree | None = None
    edits: tuple[InputEdit, ...] = ()
    n_timeouts: int = 0
    n_texts_to_rest: int = 0


class Syntax:
    """The syntax of one text; safe to use from any thread. `parse_fresh` and `derive` make one, at no cost."""

    def __init__(self, language: Language, text: Text, base: _Base) -> None:
        """Take note of what to parse; `parse_fresh` and `derive` call this."""
        self._language = language
        self._text = text
        self._base = base  # only ever replaced whole, so that `derive` need not wait for a parse in another thread
        self._tree: Tree | None = None
        self._is_parsed = False
        self._parsing = threading.Lock()
        self._imports: tuple[tuple[int, int], ...] | None = None
        self._definitions: tuple[Scope, ...] | None = None
        self._known_damage: tuple[int, bool] | None = None

    @classmethod
    def parse_fresh(cls, language: Language, text: Text) -> Syntax:
        """Return the syntax of a text about which nothing is known."""
        return cls(language, text, _Base())

    def derive(self, new_text: Text, input_edits: Sequence[InputEdit]) -> Syntax:
        """Return the syntax of the text that `input_edits`, in order, make of this one."""
        base = self._base
        edits = (*base.edits, *input_edits)
        if len(edits) > _MAX_PENDING_EDITS:
            base, edits = evolve(base, tree=None), ()
        rest = max(base.n_texts_to_rest - 1, 0)
        return Syntax(self._language, new_text, evolve(base, edits=edits if base.tree else (), n_texts_to_rest=rest))

    @property
    def tree(self) -> Tree | None:
        """The tree, parsed at first use. None where there is no grammar or the deadline passed.

        A node's ``text`` must not be asked for, see ``parsing.py``; slice the text's data.
        """
        if not self._is_parsed:
            with self._parsing:
                if not self._is_parsed:
                    self._tree = self._parse()
                    self._is_parsed = True
        return self._tree

    def enclosing_scopes(self, cursor_byte: int) -> tuple[Scope, ...]:
        """Return the scopes in which something typed at `cursor_byte` would be, outermost first.

        Where blocks are indented, a blank line below a body belongs to it as far as its indentation says. A scope whose
        closing brace is yet to be typed goes on over white space and comments.
        """
        if load_query(self._language, "scopes") is None:
            return ()
        cursor_byte = min(max(cursor_byte, 0), len(self._text.data))
        code_end = self._code_end(cursor_byte)
        return tuple(
            scope
            for scope, node in self._scopes(("scopes",), within=(max(code_end - 1, 0), cursor_byte + 1))
            if self._is_inside(scope, node, cursor_byte, code_end)
        )

    def imports(self) -> tuple[tuple[int, int], ...]:
        """Return ``(start_byte, end_byte)`` of each import statement that is not inside a function, in order.

        Only the first 256 KiB are looked at, here and for the definitions.
        """
        if self._imports is None:
            nodes = chain.from_iterable(
                captures.get("import", ())
                for _, captures in self._matches("imports", max_depth=_IMPORT_DEPTH, within=(0, _SURVEY_BYTES))
            )
            self._imports = tuple(sorted({(node.start_byte, node.end_byte) for node in nodes}))
        return self._imports

    def definitions(self) -> tuple[Scope, ...]:
        """Return what other files could refer to, in order: everything defined that is not inside a function."""
        if self._definitions is None:
            found: list[Scope] = []
            function_end = 0
            names: tuple[QueryName, ...] = ("scopes", "definitions")
            for scope, _ in self._scopes(names, max_depth=_DEFINITION_DEPTH, within=(0, _SURVEY_BYTES)):
                if scope.start_byte >= function_end and scope.name:
                    found.append(scope)
                    function_end = scope.end_byte if scope.kind == "function" else function_end
            self._definitions = tuple(found)
        return self._definitions

    def error_count(self) -> int:
        """Return how many errors and missing tokens the tree holds, at most some 10,000; 0 without a tree."""
        return self._damage()[0]

    def first_error_in(self, start_byte: int, end_byte: int) -> int | None:
        """Return where the first error or missing token begins that touches the bytes, None where there is none."""
        found: list[int] = []
        to_visit = [self.tree.root_node] if self.tree is not None else []
        while to_visit:
            node = to_visit.pop()
            if node.is_error or node.is_missing:
                found.append(node.start_byte)
            elif node.has_error:
                touching = (child for child in node.children if child.start_byte <= end_byte)
                to_visit.extend(child for child in touching if child.end_byte >= start_byte and child.has_error)
        return min(found, default=None)

    def token_over(self, byte: int) -> tuple[int, int] | None:
        """Return ``(start_byte, end_byte)`` of the token of which `byte` is a part but not the first.

        A string is one token here, with all that is in it. None between two tokens, and without a tree.
        """
        if self.tree is None or not 0 < byte < len(self._text.data):
            return None
        node = self.tree.root_node.descendant_for_byte_range(byte - 1, byte + 1)
        if node is None or node.is_error or not (node.child_count == 0 or "string" in node.type):
            return None
        return (node.start_byte, node.end_byte) if node.start_byte < byte < node.end_byte else None

    def _damage(self) -> tuple[int, bool]:
        """Return how many errors the tree holds, and whether they make queries slow and their answers worthless."""
        if self._known_damage is None:
            n_errors = n_visited = work = 0
            to_visit = [self.tree.root_node] if self.tree is not None else []
            while to_visit and n_visited < _MAX_DAMAGED_NODES and work < _MAX_LOOSE_TOKENS**2:
                node = to_visit.pop()
                n_visited += 1
                n_errors += node.is_error or node.is_missing
                work += (node.child_count - node.named_child_count) ** 2 if node.is_error else 0
                if node.has_error:
                    to_visit.extend(child for child in node.children if child.has_error)
            self._known_damage = n_errors, n_visited == _MAX_DAMAGED_NODES or work >= _MAX_LOOSE_TOKENS**2
        return self._known_damage

    def _parse(self) -> Tree | None:
        base = self._base
        grammar = load_grammar(self._language)
        if grammar is None or base.n_texts_to_rest:
            return None
        old_tree = _edited(base)
        limit_ms = FIRST_PARSE_MS if old_tree is None or base.n_timeouts else REPARSE_MS
        tree = parse(grammar, self._text.data, old_tree, limit_ms)
        if tree is None:
            # The next texts are not even tried, ever more of them: a file that is too slow must not cost half a second
            # at each keystroke.
            n_timeouts = min(base.n_timeouts + 1, _MAX_TIMEOUTS)
            self._base = evolve(base, n_timeouts=n_timeouts, n_texts_to_rest=4**n_timeouts + 1)
            logger.debug("no %s tree within %.0f ms", self._language.name, limit_ms)
            return None
        self._base = _Base(tree)  # lets go of the old tree
        return tree

    def _matches(
        self, name: QueryName, *, max_depth: int | None = None, within: tuple[int, int] | None = None
    ) -> list[tuple[int, dict[str, list[Node]]]]:
        """Run a query from the nodes that are at most `max_depth` deep and touch the bytes `within`."""
        query = load_query(self._language, name)
        tree = self.tree if query is not None else None
        if query is None or tree is None or self._damage()[1]:
            return []
        from tree_sitter import QueryCursor

        cursor = QueryCursor(query)  # its progress_callback must not be used: 0.26 reads a struct that is gone by then
        if max_depth is not None:
            cursor.set_max_start_depth(max_depth)
        if within is not None:
            cursor.set_byte_range(*within)
        return cursor.matches(tree.root_node, self._satisfies)

    def _satisfies(
        self,
        predicate: str,
        args: list[tuple[str, Literal["capture", "string"]]],
        pattern_index: int,  # noqa: ARG002 -- the binding passes it
        captures: dict[str, list[Node]],
    ) -> bool:
        """Whether a match satisfies ``#one-of?``; `predicate` comes without the sharp sign."""
        (capture, _), *words = args
        node = captures[capture][0]
        word = self._text.data[node.start_byte : node.end_byte].decode("utf-8", "replace")
        return predicate == "one-of?" and word in {text for text, _ in words}

    def _scopes(
        self, names: Iterable[QueryName], *, max_depth: int | None = None, within: tuple[int, int] | None = None
    ) -> list[tuple[Scope, Node]]:
        """Return what the queries find, the outer before the inner, each node once: from the pattern that says most."""
        found: dict[int, tuple[Scope, Node]] = {}
        for name in names:
            query = load_query(self._language, name)
            for pattern, captures in self._matches(name, max_depth=max_depth, within=within):
                leads = (query.pattern_settings(pattern).get("lead") or "").split() if query is not None else []
                scope, node = self._scope(captures, leads)
                known, _ = found.get(node.id, (None, None))
                if known is None or (scope.name != "", -scope.start_byte) > (known.name != "", -known.start_byte):
                    found[node.id] = scope, node
        return sorted(found.values(), key=lambda each: (each[0].start_byte, -each[0].end_byte))

    def _scope(self, captures: dict[str, list[Node]], leads: Sequence[str]) -> tuple[Scope, Node]:
        parts = {capture.partition(".")[2]: nodes[0] for capture, nodes in captures.items()}
        name, body = parts.pop("name", None), parts.pop("body", None)
        (kind, node), *_ = ((part, node) for part, node in parts.items() if part)
        data = self._text.data
        start, end = _start_with_leads(node, leads), node.end_byte
        if body is None:
            last = _last_leaf(node)
            before = last.prev_sibling if data[last.start_byte : last.end_byte] in _CLOSERS else None
            header = body_start = before.end_byte if before is not None else end
        elif data.startswith(b"{", body.start_byte):
            header, body_start = body.start_byte + 1, body.start_byte
        else:
            header, body_start = _end_of_header(node, body), body.start_byte
        line_end = self._text.line_span(self._text.line_of(max(header - 1, start)))[1]
        called = data[name.start_byte : name.end_byte].decode("utf-8", "replace") if name is not None else ""
        return Scope(kind, called, start, max(header, min(line_end, end)), body_start, end), node

    def _code_end(self, cursor_byte: int) -> int:
        """Return where the last token before the cursor ends that is neither white space nor a comment, 0 for none."""
        end = _rstripped(self._text.data, cursor_byte)
        root = self.tree.root_node if self.tree is not None else None
        for _ in range(_MAX_SIBLINGS):
            node = root.descendant_for_byte_range(end - 1, end) if root is not None and end else None
            if node is None or not node.is_extra or node.is_error or node.start_byte >= end:
                break
            end = _rstripped(self._text.data, node.start_byte)
        return end

    def _is_inside(self, scope: Scope, node: Node, cursor_byte: int, code_end: int) -> bool:
        if scope.start_byte < cursor_byte < scope.end_byte:
            return True
        if cursor_byte <= scope.start_byte:
            return False
        if self._language.blocks == "indent":
            return self._is_below_body(scope, cursor_byte)
        return scope.end_byte >= code_end and _last_leaf(node).is_missing

    def _is_below_body(self, scope: Scope, cursor_byte: int) -> bool:
        """Whether each line from an indented scope's end to the cursor's is indented more than the scope's header."""
        text = self._text
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


def _edited(base: _Base) -> Tree | None:
    """Return a copy of the base's tree that knows of the edits since."""
    if base.tree is None:
        return None
    tree = base.tree.copy()
    for edit in base.edits:
        tree.edit(*astuple(edit, recurse=False))
    return tree


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


def _rstripped(data: bytes, end: int) -> int:
    """Return where ``data[:end]`` ends without the white space at its end, and do not copy it all for that."""
    while end:
        start = max(end - 4096, 0)
        if tail := data[start:end].rstrip():
            return start + len(tail)
        end = start
    return 0


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip())
