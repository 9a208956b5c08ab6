"""A description of each setting, for documentation and for editors.

`generate_settings.py` writes the VS Code extension's schema from it; a test compares `docs/settings.md` with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
from attrs import frozen

from starcoder_lsp.setting_rules import fields_of, rules_of
from starcoder_lsp.settings import SECTION, Settings

LOWERED: Final = " A workspace can only lower it."
_TYPE_NAMES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", tuple: "array of strings"}


@frozen
class SettingDescription:
    """A setting for documentation and for an editor's schema. `type_name` and `default` are JSON's."""

    key: str
    type_name: str
    default: bool | float | str | list[str]
    description: str
    choices: tuple[str, ...]
    limits: tuple[float, float] | None
    trusted_only: bool
    can_only_be_lowered: bool


def describe_settings() -> list[SettingDescription]:
    """Describe each setting, in the order of the tree."""
    return list(_describe(Settings(), SECTION))


def _describe(group: attrs.AttrsInstance, path: str) -> Iterator[SettingDescription]:
    for key, attribute in fields_of(group).items():
        default = getattr(group, attribute.name)
        if attrs.has(type(default)):
            yield from _describe(default, f"{path}.{key}")
            continue
        rules = rules_of(attribute)
        yield SettingDescription(
            key=f"{path}.{key}",
            type_name=_TYPE_NAMES[type(default)],
            default=list(default) if isinstance(default, tuple) else default,
            description=rules.description + (LOWERED if rules.can_only_be_lowered else ""),
            choices=rules.choices,
            limits=rules.limits,
            trusted_only=rules.trusted_only,
            can_only_be_lowered=rules.can_only_be_lowered,
        )
