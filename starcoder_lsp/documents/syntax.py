"""The syntax tree of a text, parsed on demand and incrementally, and its errors. Methods return offsets, never nodes.

A tree is parsed at its first use, not at each edit, and starts from the newest tree of an earlier text. A parse may
fail: it has a deadline. Without a tree every answer is empty, and the window falls back to lines. `scopes.py` finds
scopes, imports and definitions in the tree.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from attrs import astuple, evolve, frozen

from starcoder_lsp.black_box import working_on
from starcoder_lsp.documents import nesting, scopes, strict
from starcoder_lsp.documents.languages import Language, QueryName, load_grammar, load_query
from starcoder_lsp.documents.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tree_sitter import Tree

    from starcoder_lsp.documents.scopes import Scope
    from starcoder_lsp.documents.text import InputEdit, Text

FIRST_PARSE_MS: Final = 500.0
"""Deadline of a parse from scratch: 229 KB of Python take 17 ms."""
REPARSE_MS: Final = 50.0
"""Deadline of a parse from an earlier tree: after a keystroke in the same 229 KB it takes 3 ms."""

_MAX_PENDING_EDITS: Final = 1000
"""After more edits than this a parse from scratch costs no more than applying them to an old tree. Not measured."""
_MAX_TIMEOUTS: Final = 5
"""After this many timeouts in a row, the number of texts that are not parsed, 4 ** n, grows no more. Not measured."""
_MAX_DAMAGED_NODES: Final = 10_000
"""The most nodes with errors that are counted. Not measured."""
_MAX_LINE_BYTES: Final = 65_536
"""A text with a longer line is not parsed. In one of 200 KB, full of quotes or of `/*`, one call of tree-sitter's
`edit` or of a query takes 66 to 83 ms of CPU time and holds the interpreter's lock meanwhile (`bench/hostile.py`).
Editors do not colour such lines either: VS Code's `maxTokenizationLineLength` is 20,000."""
_MAX_LOOSE_TOKENS: Final = 5000
"""The most unnamed tokens in one error: queries on more are not run. Their time is quadratic, here some 30 ms."""

_SEVERAL_STRINGS: Final = ("concatenated_string", "chained_string")
"""Types of nodes of several strings, one behind the other, perhaps on several lines."""
_STRINGS: Final = ("string", *_SEVERAL_STRINGS)
_AROUND_STRINGS: Final = ("expression_statement", "parenthesized_expression")
"""Types of nodes around the string of a docstring."""
_BLOCK: Final = "block"
"""The type of a node that holds a body's statements."""
_CLOSING: Final = ("end", "clos")
"""Parts of the types of nodes that close others: `end_tag`, `jsx_closing_element`, `endif_command`."""

logger = logging.getLogger(__name__)


@frozen(eq=False)
class _Base:
    """The start of a parse: the newest earlier tree and the edits since it.

    `n_timeouts` counts parses in a row that missed their deadline; the next `n_texts_to_skip` texts are not parsed.
    """

    tree: Tree | None = None
    edits: tuple[InputEdit, ...] = ()
    n_timeouts: int = 0
    n_texts_to_skip: int = 0


class Syntax:
    """The syntax of one text; safe to use from any thread. `parse_fresh` and `derive` make one without parsing."""

    def __init__(self, language: Language, text: Text, base: _Base, uri: str = "") -> None:
        """Store what to parse; `parse_fresh` and `derive` call this."""
        self._language = language
        self._text = text
        self._uri = uri
        self._base = base  # replaced whole, so that `derive` need not wait for a parse in another thread
        self._tree: Tree | None = None
        self._is_parsed = False
        self._parsing = threading.Lock()
        self._imports: tuple[tuple[int, int], ...] | None = None
        self._definitions: tuple[Scope, ...] | None = None
        self._known_damage: tuple[int, bool] | None = None

    @classmethod
    def parse_fresh(cls, language: Language, text: Text, uri: str = "") -> Syntax:
        """Return the syntax of a text without an earlier tree."""
        return cls(language, text, _Base(), uri)

    def derive(self, new_text: Text, input_edits: Sequence[InputEdit]) -> Syntax:
        """Return the syntax of `new_text`, which `input_edits`, in order, make of this text."""
        base = self._base
        edits = (*base.edits, *input_edits)
        if len(edits) > _MAX_PENDING_EDITS:
            base, edits = evolve(base, tree=None), ()
        n_to_skip = max(base.n_texts_to_skip - 1, 0)
        return Syntax(
            self._language,
            new_text,
            evolve(base, edits=edits if base.tree else (), n_texts_to_skip=n_to_skip),
            self._uri,
        )

    @property
    def tree(self) -> Tree | None:
        """The tree, parsed at first use. `None` without a grammar and after a missed deadline.

        Do not read a node's `text`, which crashes (see `parsing.py`); slice the text's data.
        """
        if not self._is_parsed:
            with self._parsing:
                if not self._is_parsed:
                    with working_on(self._uri):
                        self._tree = self._parse()
                    self._is_parsed = True
        return self._tree

    def enclosing_scopes(self, cursor_byte: int) -> tuple[Scope, ...]:
        """Return the scopes that text typed at `cursor_byte` belongs to, outermost first."""
        parsed = self._parsed_for(scopes.SCOPE_QUERIES)
        cursor_byte = min(max(cursor_byte, 0), len(self._text.data))
        return scopes.enclosing_scopes(parsed, cursor_byte) if parsed is not None else ()

    def behind_leads(self, byte: int) -> int:
        """Return the start of the definition in whose decorators or modifiers `byte` is; `byte` if it is in none."""
        parsed = self._parsed_for(scopes.SCOPE_QUERIES)
        return scopes.behind_leads(parsed, byte) if parsed is not None else byte

    def imports(self) -> tuple[tuple[int, int], ...]:
        """Return `(start_byte, end_byte)` of each import statement that is not inside a function, in order."""
        if self._imports is None:
            parsed = self._parsed_for(scopes.IMPORT_QUERIES)
            self._imports = scopes.import_statements(parsed) if parsed is not None else ()
        return self._imports

    def definitions(self) -> tuple[Scope, ...]:
        """Return what other files can refer to, in order: every definition that is not inside a function."""
        if self._definitions is None:
            parsed = self._parsed_for(scopes.DEFINITION_QUERIES)
            self._definitions = scopes.definitions(parsed) if parsed is not None else ()
        return self._definitions

    def accepts(self, start_byte: int, end_byte: int) -> bool:
        """Return whether the language's own parser accepts the statements around the bytes; true without one."""
        return self.tree is None or strict.accepts(self._language, self._text, self.tree, start_byte, end_byte)

    def error_count(self) -> int:
        """Return the number of errors and missing tokens in the tree, at most some 10,000; 0 without a tree.

        A node that reports an error, while none of its children does, counts as one: the binding hides some nodes.
        """
        return self._damage()[0]

    def first_error_in(self, start_byte: int, end_byte: int) -> int | None:
        """Return the start of the first error that touches the bytes, or `None`.

        A missing token is an error too, but for a `}`: a block that is being written is closed on a later line.
        """
        found: list[int] = []
        to_visit = [self.tree.root_node] if self.tree is not None else []
        while to_visit:
            node = to_visit.pop()
            if node.is_error or (node.is_missing and node.type != "}"):
                found.append(node.start_byte)
            elif node.has_error and not node.is_missing:
                damaged = [child for child in node.children if child.has_error]
                touching = (child for child in damaged if child.start_byte <= end_byte)
                to_visit.extend(child for child in touching if child.end_byte >= start_byte)
                if not damaged:  # an error that the binding does not show
                    found.append(node.start_byte)
        return min(found, default=None)

    def token_over(self, byte: int) -> tuple[int, int] | None:
        r"""Return `(start_byte, end_byte)` of the token that `byte` is in but does not begin.

        A string counts as one token, with all that is in it. A comment ends before its line's `\r\n`. `None` between
        two tokens, and without a tree.
        """
        if self.tree is None or not 0 < byte < len(self._text.data):
            return None
        node = self.tree.root_node.descendant_for_byte_range(byte - 1, byte + 1)
        if node is None or node.is_error or not (node.child_count == 0 or "string" in node.type):
            return None
        if node.type in _SEVERAL_STRINGS:
            return None
        end_byte = node.end_byte - self._text.data.endswith(b"\r", node.start_byte, node.end_byte)
        return (node.start_byte, end_byte) if node.start_byte < byte < end_byte else None

    def first_code(self) -> int | None:
        """Return the start of the first part of the text that is no comment, or `None`."""
        node = self.tree.root_node.child(0) if self.tree is not None else None
        while node is not None and node.is_extra:
            node = node.next_sibling
        return node.start_byte if node is not None else None

    def comment_before(self, byte: int) -> tuple[int, int] | None:
        """Return `(start_byte, end_byte)` of the comment that only white space parts from `byte`, or `None`."""
        parsed = self._parsed_for(scopes.SCOPE_QUERIES)
        return scopes.comment_before(parsed, byte) if parsed is not None else None

    def string_statement_end(self, byte: int) -> int | None:
        """Return the end of the statement that begins at a byte if it is a string alone, as a docstring is."""
        node = self.tree.root_node.descendant_for_byte_range(byte, byte + 1) if self.tree is not None else None
        while node is not None and node.parent is not None and node.parent.start_byte == byte:
            if node.parent.type == _BLOCK:
                break
            node = node.parent
        statement = node
        while node is not None and node.type in _AROUND_STRINGS:
            inside = [child for child in node.named_children if not child.is_extra]
            node = inside[0] if len(inside) == 1 else None
        is_string = node is not None and node.type in _STRINGS
        return statement.end_byte if is_string and statement is not None else None

    def closing_brace(self, byte: int) -> int | None:
        """Return the place of the `}` that closes the `{` at a byte; `None` if the tree has no such pair."""
        brace = self.tree.root_node.descendant_for_byte_range(byte, byte + 1) if self.tree is not None else None
        block = brace.parent if brace is not None and brace.type == "{" else None
        last = block.child(block.child_count - 1) if block is not None else None
        return last.start_byte if last is not None and last.type == "}" and not last.is_missing else None

    def begins_in(self, byte: int, parent_start_byte: int | None) -> bool:
        """Return whether the largest node that begins at a byte is in a node that begins at `parent_start_byte`.

        `None` means the root. False if that other node is an error.
        """
        node = self.tree.root_node.descendant_for_byte_range(byte, byte + 1) if self.tree is not None else None
        while node is not None and node.start_byte == byte:
            node = node.parent
        if node is None or node.is_error:
            return False
        return node.parent is None if parent_start_byte is None else node.start_byte == parent_start_byte

    def begins_with_closer(self, byte: int) -> bool:
        """Return whether a keyword such as `end`, or a closing tag, begins at a byte, and no statement."""
        node = self.tree.root_node.descendant_for_byte_range(byte, byte + 1) if self.tree is not None else None
        while node is not None and node.parent is not None and node.parent.start_byte == byte:
            node = node.parent
        return node is not None and (not node.is_named or any(word in node.type for word in _CLOSING))

    def closed_by(self, end_byte: int) -> int | None:
        """Return the start of the smallest node of several lines that ends at a byte: its last word closes it."""
        tree, line_start = self.tree, self._text.line_span(self._text.line_of(max(0, end_byte - 1)))[0]
        node = tree.root_node.descendant_for_byte_range(end_byte - 1, end_byte) if tree is not None else None
        while node is not None and node.end_byte == end_byte and not node.is_error:
            if node.start_byte < line_start:
                return node.start_byte
            node = node.parent
        return None

    def _damage(self) -> tuple[int, bool]:
        """Return the number of errors in the tree, and whether they make queries too slow to run."""
        if self._known_damage is None:
            n_errors = n_visited = work = 0
            to_visit = [self.tree.root_node] if self.tree is not None else []
            while to_visit and n_visited < _MAX_DAMAGED_NODES and work < _MAX_LOOSE_TOKENS**2:
                node = to_visit.pop()
                n_visited += 1
                damaged = [child for child in node.children if child.has_error] if node.has_error else []
                n_errors += node.is_error or node.is_missing or (node.has_error and not damaged)
                work += (node.child_count - node.named_child_count) ** 2 if node.is_error else 0
                to_visit.extend(damaged)
            self._known_damage = n_errors, n_visited == _MAX_DAMAGED_NODES or work >= _MAX_LOOSE_TOKENS**2
        return self._known_damage

    def _parse(self) -> Tree | None:
        base = self._base
        grammar = load_grammar(self._language)
        if grammar is None or base.n_texts_to_skip or self._text.has_line_over(_MAX_LINE_BYTES):
            return None
        if nesting.is_too_deep(self._language, self._text):
            return None
        old_tree = _edited(base)
        limit_ms = FIRST_PARSE_MS if old_tree is None or base.n_timeouts else REPARSE_MS
        tree = parse(grammar, self._text.data, old_tree, limit_ms)
        if tree is None:
            # Skip the next texts, more of them after each timeout: a slow file must not cost half a second at each
            # keystroke.
            n_timeouts = min(base.n_timeouts + 1, _MAX_TIMEOUTS)
            self._base = evolve(base, n_timeouts=n_timeouts, n_texts_to_skip=4**n_timeouts + 1)
            logger.debug("no %s tree within %.0f ms", self._language.name, limit_ms)
            return None
        self._base = _Base(tree)  # frees the old tree
        return tree

    def _parsed_for(self, names: Iterable[QueryName]) -> scopes.ParsedText | None:
        """Return the text with its tree, or `None` where the queries `names` cannot run.

        That is where the language has none of them, where there is no tree, and where errors would make them slow.
        """
        if all(load_query(self._language, name) is None for name in names):
            return None
        tree = self.tree
        return (
            scopes.ParsedText(self._language, self._text, tree) if tree is not None and not self._damage()[1] else None
        )


def _edited(base: _Base) -> Tree | None:
    """Return a copy of the base's tree with the edits since it applied."""
    if base.tree is None:
        return None
    tree = base.tree.copy()
    for edit in base.edits:
        tree.edit(*astuple(edit, recurse=False))
    return tree
