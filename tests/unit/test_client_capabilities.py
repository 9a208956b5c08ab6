"""`lsp/greeting.py` keeps every member of `initialize`'s parameters that a handler reads.

A handler gets the parameters that `parts_of` returns. A member without a row there would be `None` for every client, so
the handler would never use that capability. The test finds the members in the source, by the protocol's own types.
"""

from __future__ import annotations

import ast
import enum
import types as python_types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from lsprotocol import converters, types

from starcoder_lsp.lsp.greeting import parts_of

LSP = Path(__file__).parents[2] / "starcoder_lsp" / "lsp"
CONVERTER = converters.get_converter()
Read = tuple[type, str]
"""A class of the protocol, and the name of a member that a handler reads."""


def classes_in(annotation: Any) -> Iterator[type]:
    """Yield the protocol's classes in an annotation, such as that in `Optional[Sequence[WorkspaceFolder]]`."""
    if isinstance(annotation, type) and attrs.has(annotation):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from classes_in(inner)


def members_of(kind: type) -> dict[str, Any]:
    attrs.resolve_types(kind, vars(types))
    return {each.name: each.type for each in attrs.fields(kind)}


def everything() -> tuple[dict[str, Any], dict[Read, list[tuple[str, ...]]]]:
    """Return parameters with every member, as JSON, and the paths of each member."""
    paths: dict[Read, list[tuple[str, ...]]] = {}

    def value_of(annotation: Any, path: tuple[str, ...]) -> Any:
        options = typing.get_args(annotation) if is_union(annotation) else (annotation,)
        option = next(each for each in options if each is not type(None))
        origin = typing.get_origin(option)
        if isinstance(option, type) and attrs.has(option):
            return object_of(option, path)
        if origin is not None and issubclass(origin, Mapping):
            return {}
        if origin is not None:
            return [value_of(typing.get_args(option)[0], path)]
        if isinstance(option, type) and issubclass(option, enum.Enum):
            return next(iter(option)).value
        return {str: "file:///x", int: 1, bool: True, float: 1.0}.get(option, {})

    def object_of(kind: type, path: tuple[str, ...]) -> dict[str, Any]:
        made = {}
        for name, annotation in members_of(kind).items():
            paths.setdefault((kind, name), []).append((*path, name))
            made[camel(name)] = value_of(annotation, (*path, name))
        return made

    return object_of(types.InitializeParams, ()), paths


def is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, python_types.UnionType)


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)


EVERYTHING, PATHS = everything()
FOLLOWED = {kind for kind, _ in PATHS} | {types.InitializeParams}


class Reads(ast.NodeVisitor):
    """The members that one module reads of the parameters, at any depth.

    A value's class is known from `client_capabilities`, from annotations, from functions' results, and from members.
    """

    def __init__(self, results: Mapping[str, type]) -> None:
        self.found: set[Read] = set()
        self._results = results
        self._known: dict[str, type] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before = dict(self._known)
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self._known |= {each.arg: kind for each in arguments if (kind := annotated(each.annotation)) is not None}
        for _ in range(2):  # a loop may read what it assigns below
            self.generic_visit(node)
        self._known = before

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815  ast's name

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._assign(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if node.value is not None:
            self._assign(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._assign(node.target, node.value)

    def visit_For(self, node: ast.For) -> None:
        self._assign(node.target, node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._assign(node.target, node.iter)
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        """Visit a comprehension's loops before its element, which uses their names."""
        for loop in getattr(node, "generators", ()):
            self.visit(loop)
        super().generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        kind = self.kind_of(node.value)
        if kind is not None and node.attr in members_of(kind):
            self.found.add((kind, node.attr))

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        kind = self.kind_of(value)
        if isinstance(target, ast.Name) and kind is not None:
            self._known[target.id] = kind

    def kind_of(self, node: ast.expr) -> type | None:
        """Return the class of a value, or of a list's elements; `None` for what is not followed."""
        if isinstance(node, ast.Attribute):
            if node.attr == "client_capabilities":
                return types.ClientCapabilities
            owner = self.kind_of(node.value)
            return next(classes_in(members_of(owner).get(node.attr)), None) if owner is not None else None
        if isinstance(node, ast.Name):
            return self._known.get(node.id)
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            return self._results.get(called)
        parts = {ast.IfExp: ("body", "orelse"), ast.NamedExpr: ("value",), ast.Await: ("value",)}.get(type(node), ())
        values = node.values if isinstance(node, ast.BoolOp) else [getattr(node, part) for part in parts]
        return next((kind for each in values if (kind := self.kind_of(each)) is not None), None)


def annotated(annotation: ast.expr | None) -> type | None:
    """Return the followed class that an annotation names, if it names one."""
    named = [node.attr for node in ast.walk(annotation) if isinstance(node, ast.Attribute)] if annotation else []
    return next((kind for name in named if (kind := getattr(types, name, None)) in FOLLOWED), None)


def reads_of(sources: Mapping[str, str]) -> dict[Read, list[str]]:
    """Each member that the modules read, and their names."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    functions = [
        node
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    results = {each.name: kind for each in functions if (kind := annotated(each.returns)) is not None}
    found: dict[Read, list[str]] = {}
    for name, tree in trees.items():
        reads = Reads(results)
        reads.visit(tree)
        for read in reads.found:
            found.setdefault(read, []).append(name)
    return found


def is_kept(read: Read) -> bool:
    """Return whether the member is what the client gave, in one of its places at least: it may have several."""

    def at(params: Any, path: tuple[str, ...]) -> Any:
        for name in path:
            params = params[0] if isinstance(params, list | tuple) else params
            params = getattr(params, name, None)
        return params

    given, seen = structured(EVERYTHING), structured(parts_of(EVERYTHING))
    return any(contains(at(given, path), at(seen, path)) for path in PATHS[read])


def contains(given: Any, seen: Any) -> bool:
    """Return whether a value that a handler sees is the one given; an object may have fewer members."""
    return type(seen) is type(given) if attrs.has(type(given)) else given is not None and seen == given


def structured(params: Any) -> types.InitializeParams:
    return CONVERTER.structure(params, types.InitializeParams)


SOURCES = {path.relative_to(LSP).as_posix(): path.read_text() for path in sorted(LSP.rglob("*.py"))}
READS = reads_of(SOURCES)


def in_words(read: Read) -> str:
    return f"{read[0].__name__}.{read[1]}"


@pytest.mark.parametrize("read", sorted(READS, key=in_words), ids=in_words)
def test_the_greeting_keeps_each_member_that_a_handler_reads(read: Read) -> None:
    assert is_kept(read), f"{READS[read]} read it, and _READ of lsp/greeting.py has no row for it"


def test_members_that_handlers_read_are_found() -> None:
    """A few that are certain, each written in another way."""
    named = {in_words(read) for read in READS}
    assert named >= {
        "InitializeParams.capabilities",
        "ClientInfo.version",
        "WorkspaceFolder.uri",
        "ClientCapabilities.experimental",
        "WindowClientCapabilities.show_message",
        "ShowDocumentClientCapabilities.support",
        "WorkspaceClientCapabilities.configuration",
        "DidChangeConfigurationClientCapabilities.dynamic_registration",
        "WorkspaceEditClientCapabilities.resource_operations",
        "CodeActionTagOptions.value_set",
    }


@pytest.mark.parametrize(
    "code",
    [
        "return server.client_capabilities.text_document.hover.content_format",
        "hover = (server.client_capabilities.text_document or None).hover\n    return hover.content_format",
        "if (found := params.capabilities.text_document) is not None:\n        return found.hover.content_format",
        """document = params.capabilities.text_document
    hover = document.hover if document is not None else None
    return hover is not None and hover.content_format""",
        "return hovering(server).content_format",
    ],
)
def test_a_member_that_is_not_kept_is_found(code: str) -> None:
    source = (
        f"def reads(server, params: types.InitializeParams):\n    {code}\n\n"
        "def hovering(server) -> types.HoverClientCapabilities | None:\n    return None\n"
    )
    read = (types.HoverClientCapabilities, "content_format")
    assert read in reads_of({"made_up.py": source})
    assert not is_kept(read)
