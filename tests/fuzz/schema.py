"""JSON values of the protocol's types, made from the classes of lsprotocol."""

from __future__ import annotations

import collections.abc
import enum
import types as python_types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st
from lsprotocol import types


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


URIS = [
    "file:///code/a.py",
    "untitled:b",
    "file:///code/%20%ff.py",
    "file:",
    "",
    "x",
    "vscode-notebook-cell:/n.ipynb#1",
]
STRINGS = st.one_of(
    st.sampled_from([*URIS, "python", "a", "é😀", "\0", "\ud800", "x" * 3000, "\n" * 50, "../..", "%s{}"]),
    st.text(max_size=8),
)
NUMBERS = st.one_of(st.integers(0, 3), st.sampled_from([-1, 2**31 - 1, 2**31, -(2**31), 2**63, 10**30]))
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.sampled_from([0.5, -1e300, 1e-9]),
    STRINGS,
    st.just([]),
    st.just({}),
    st.lists(NUMBERS, max_size=3),
    st.dictionaries(STRINGS, NUMBERS, max_size=2),
    st.sampled_from([10, 300, 900]).map(_nested),
)
"""Values of every kind, at any place."""
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: STRINGS,
    int: NUMBERS,
    float: st.floats(0, 1e6),
    bool: st.booleans(),
    type(None): st.none(),
    Any: JUNK,
    object: JUNK,
    types.LSPObject: st.dictionaries(STRINGS, JUNK, max_size=2),
}


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for JSON of a type of lsprotocol. Raises `TypeError` for a type that it does not know."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if attrs.has(kind):
        return st.deferred(lambda: _object(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from([each.value for each in kind])
    return _composed(get_origin(kind), get_args(kind))


def _composed(origin: Any, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, python_types.UnionType):
        return st.one_of(*(values(each) for each in arguments))
    if origin is tuple:
        return st.tuples(*(values(each) for each in arguments if each is not Ellipsis)).map(list)
    if origin in (list, collections.abc.Sequence):
        return st.lists(values(arguments[0]), max_size=3)
    if origin in (dict, collections.abc.Mapping):
        return st.dictionaries(STRINGS, values(arguments[1]), max_size=2)
    raise TypeError(origin)


def _object(kind: Any) -> st.SearchStrategy[dict[str, Any]]:
    hints, required, optional = get_type_hints(kind), {}, {}
    for each in attrs.fields(kind):
        name = _camel(each.name)
        (required if each.default is attrs.NOTHING else optional)[name] = values(hints[each.name])
    return st.fixed_dictionaries(required, optional=optional)


def _camel(name: str) -> str:
    """The protocol's spelling of a field."""
    first, *others = name.strip("_").split("_")
    return first + "".join(each.capitalize() for each in others)
