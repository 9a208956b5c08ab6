"""pygls' converter between JSON and the protocol's classes, made without looking at all 554 of them.

lsprotocol resolves the annotations of every class when a converter is made, which takes as long as importing the
classes. Here those of a class are resolved when the first object of it is converted.
"""

from __future__ import annotations

from typing import Any

import attrs
from cattrs import Converter
from lsprotocol import _hooks, types
from pygls.protocol import default_converter


def make_converter() -> Converter:
    """Return a converter that gives the same objects and the same JSON as pygls' own."""
    were_resolved = _hooks._resolved_forward_references  # noqa: SLF001  there is no public way to leave it out
    _hooks._resolved_forward_references = True  # noqa: SLF001
    try:
        converter: Converter = default_converter()  # type: ignore[no-untyped-call]
    finally:
        _hooks._resolved_forward_references = were_resolved  # noqa: SLF001
    # The newest predicate is asked first. This one accepts no class, so lsprotocol's own hooks convert it.
    converter.register_structure_hook_factory(_resolve, _unused)
    converter.register_unstructure_hook_factory(_resolve, _unused)
    return converter


def _resolve(cls: object) -> bool:
    """Resolve the annotations of a class of the protocol, and return false."""
    if isinstance(cls, type) and attrs.has(cls):
        attrs.resolve_types(cls, types.ALL_TYPES_MAP, {})
    return False


def _unused(_cls: Any) -> Any:
    """Make no hook: `_resolve` accepts no class."""
