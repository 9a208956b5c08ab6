"""`starcoder-lsp settings`: every setting, with its default, as a Markdown table."""

from __future__ import annotations

import json

from starcoder_lsp.setting_descriptions import SettingDescription, describe_settings
from starcoder_lsp.settings import SECTION


def print_settings() -> int:
    """Write the table to standard output."""
    print(settings_table())
    return 0


def settings_table() -> str:
    """Return the table, with a row for each setting."""
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    rows += [_row(setting) for setting in describe_settings()]
    return "\n".join(rows)


def _row(setting: SettingDescription) -> str:
    key = setting.key.removeprefix(f"{SECTION}.")
    default = json.dumps(setting.default)
    return f"| `{key}` | `{default}` | {setting.description.replace('|', chr(92) + '|')} |"
