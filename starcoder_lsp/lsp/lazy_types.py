"""Import the protocol's classes without making all 554 of them: attrs writes and compiles methods for each.

A session uses some hundred of them. Here a class gets its methods when the first object of it is made, or when its
fields are looked at.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any, Final

import attrs

MODULE: Final = "lsprotocol.types"
FIELDS: Final = "__attrs_attrs__"
"""The attribute by which attrs, cattrs and pygls recognize and read a class of attrs."""
_define: Final = attrs.define
_lock: Final = threading.RLock()


def import_types() -> None:
    """Import `lsprotocol.types`, unless that was done. No other thread may import anything meanwhile."""
    if MODULE in sys.modules:
        return
    attrs.define = _deferred  # type: ignore[assignment]
    try:
        importlib.import_module(MODULE)
    finally:
        attrs.define = _define


class _Fields:
    """Stands for the fields of a class that is not finished."""

    def __get__(self, _instance: object, owner: type) -> Any:
        """Finish the class and return its fields."""
        for cls in owner.__mro__:
            if vars(cls).get(FIELDS) is self:
                _finish(cls)
        return getattr(owner, FIELDS)


def _deferred(cls: type) -> type:
    """Do what `attrs.define` does, but later."""
    if cls.__module__ != MODULE or "__init__" in vars(cls):
        return _define(cls)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  it is replaced by the real one
        _finish(cls)
        vars(cls)["__init__"](self, *args, **kwargs)

    cls.__init__ = __init__  # type: ignore[misc]
    setattr(cls, FIELDS, _Fields())
    return cls


def _finish(cls: type) -> None:
    """Give a class the methods of `attrs.define`. They are added in place: annotations refer to this class."""
    with _lock:
        if not isinstance(vars(cls).get(FIELDS), _Fields):
            return  # another thread was faster
        delattr(cls, FIELDS)
        delattr(cls, "__init__")
        _define(cls, slots=False)
