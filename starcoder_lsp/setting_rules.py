"""The rules of a setting, kept in the metadata of its attrs field: description, choices, limits, trust."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs
from attrs import field, frozen

T = TypeVar("T")


@frozen
class Rules:
    """The rules of one setting, besides its name and its default.

    `key` replaces the name in camelCase that editors use. A `trusted_only` setting is ignored if a workspace sets it,
    unless to one of `anyone_may_set`. A workspace cannot raise one that `can_only_be_lowered` above the user's value: a
    clone must not take more memory, disk or time.
    """

    description: str
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    trusted_only: bool = False
    anyone_may_set: tuple[object, ...] = ()
    can_only_be_lowered: bool = False
    key: str = ""


def setting(description: str, *, default: T, **rules: Any) -> T:
    """Return a field of a group of settings, with its rules as metadata."""
    made: T = field(default=default, metadata={Rules: Rules(description, **rules)})
    return made


def fields_of(group: attrs.AttrsInstance) -> dict[str, attrs.Attribute[Any]]:
    """Return the fields of a group by the names that editors use, in camelCase."""
    fields = {}
    for attribute in attrs.fields(type(group)):
        first, *others = attribute.name.split("_")
        key = attribute.metadata[Rules].key if Rules in attribute.metadata else ""
        fields[key or first + "".join(map(str.capitalize, others))] = attribute
    return fields


def rules_of(attribute: attrs.Attribute[Any]) -> Rules:
    """Return the rules of a field that is a setting and not a group."""
    rules: Rules = attribute.metadata[Rules]
    return rules
