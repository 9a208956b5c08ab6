"""Read layers of settings, from editors and files, into the tree of settings.

Bad input raises no error: the value of the earlier layers stays, and one message says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import attrs
from attrs import frozen

from starcoder_lsp.printable import printable
from starcoder_lsp.regular_files import read_regular
from starcoder_lsp.setting_descriptions import describe_settings
from starcoder_lsp.setting_rules import Rules, fields_of, rules_of
from starcoder_lsp.settings import SECTION, Settings

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "starcoder-lsp.toml"
MAX_FILE_BYTES: Final = 1024 * 1024


@frozen
class SettingsLayer:
    """Settings from one source: `values` are nested, with keys in camelCase.

    `trusted` is true for a source that only the user writes, such as their own file, and false for one that a workspace
    may contain. `problems` are messages about reading the source.
    """

    name: str
    values: Mapping[str, object]
    trusted: bool
    problems: tuple[str, ...] = ()


def read_settings(layers: Sequence[SettingsLayer]) -> tuple[Settings, tuple[str, ...]]:
    """Merge `layers` over the defaults; later layers win.

    Return also one message for each problem: the key, the expected kind of value, and the value that is used instead,
    from the earlier layers. A `None` in a layer sets nothing. No content of a layer raises an error.
    """
    settings: Any = Settings()
    problems: list[str] = []
    for layer in layers:
        problems += layer.problems
        settings = _read_group(settings, layer.values, SECTION, layer, problems)
    return settings, tuple(problems)


def sent_layer(name: str, given: object, *, trusted: bool = True) -> SettingsLayer:
    """Return the layer that a client sent: `given` is the section, an object that holds it, or nothing."""
    values: Any = given[SECTION] if isinstance(given, Mapping) and SECTION in given else given
    return SettingsLayer(name, {} if values is None else values, trusted=trusted)


def user_file() -> Path:
    """Return the path of the user's own settings: `starcoder-lsp.toml` in the platform's configuration folder."""
    import platformdirs

    return platformdirs.user_config_path("starcoder-lsp", appauthor=False) / FILE_NAME


def load_user_file(path: Path) -> SettingsLayer:
    """Read the user's own settings, a trusted layer. A missing file is an empty layer; a bad one has a problem."""
    import tomllib

    try:
        return SettingsLayer(
            str(path), tomllib.loads(read_regular(path, MAX_FILE_BYTES).decode("utf-8-sig")), trusted=True
        )
    except (FileNotFoundError, NotADirectoryError):
        return SettingsLayer(str(path), {}, trusted=True)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
    except UnicodeDecodeError:
        what = "is not in UTF-8"
    except RecursionError:
        what = "is nested too deeply"
    except ValueError as error:  # such as tomllib's, with line and column, or a NUL in the path
        what = f"is not valid TOML ({error})"
    return SettingsLayer(str(path), {}, trusted=True, problems=(printable(f"{path} {what}; it is ignored"),))


def _read_group(group: Any, given: object, path: str, layer: SettingsLayer, problems: list[str]) -> Any:
    """Return `group` with the settings in `given` applied."""
    if given is None or given == []:  # Neovim sends an empty table so
        return group
    if not isinstance(given, Mapping):
        problems.append(f"{path}: expected a group of settings, got {_shown(given)}; ignored")
        return group
    changes: dict[str, object] = {}
    fields = fields_of(group)
    for key, value in given.items():
        name = f"{path}.{key}"
        if key not in fields:
            problems.append(printable(f"{name[:100]}: unknown setting, ignored{_did_you_mean(name)}"))
            continue
        attribute = fields[key]
        current = getattr(group, attribute.name)
        if attrs.has(type(current)):
            changes[attribute.name] = _read_group(current, value, name, layer, problems)
            continue
        rules = rules_of(attribute)
        expected, accepted = _read_value(rules, current, value)
        if value is None or accepted == current:  # Helix sends one table by both ways
            continue
        if rules.trusted_only and not layer.trusted and value not in rules.anyone_may_set:
            problems.append(
                f"{name}: cannot be set by {printable(layer.name[:60])}, only by you; using {_shown(current)}"
            )
        elif accepted is None:
            problems.append(f"{name}: expected {expected}, got {_shown(value)}; using {_shown(current)}")
        elif rules.can_only_be_lowered and not layer.trusted and accepted > current:
            problems.append(
                f"{name}: only you can raise it, not {printable(layer.name[:60])} to {_shown(value)};"
                f" using {_shown(current)}"
            )
        else:
            changes[attribute.name] = accepted
    return attrs.evolve(group, **changes)


def _read_value(rules: Rules, current: object, given: object) -> tuple[str, object]:
    """Return the expected kind of value in words, and `given` as the type of `current`, or `None` if it is bad."""
    if isinstance(current, bool):
        return "true or false", given if isinstance(given, bool) else None
    if rules.limits:
        kind = "a whole number" if isinstance(current, int) else "a number"
        low, high = rules.limits
        return f"{kind} from {low} to {high}", _read_number(rules.limits, given, whole=isinstance(current, int))
    if isinstance(current, tuple):
        return "a list of strings", tuple(given) if _is_list_of_strings(given) else None
    if rules.choices:
        return " or ".join(map(_shown, rules.choices)), given if given in rules.choices else None
    return "a string", given if isinstance(given, str) else None


def _read_number(limits: tuple[float, float], given: object, *, whole: bool) -> float | None:
    low, high = limits
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:  # NaN is in no range
        return None
    if whole:
        return int(given) if given == int(given) else None  # 64.0 is 64: JSON has one kind of number
    return float(given)


def _is_list_of_strings(given: object) -> TypeGuard[Sequence[str]]:
    return isinstance(given, list | tuple) and all(isinstance(text, str) for text in given)


def _did_you_mean(name: str) -> str:
    """Suggest the setting or group with the most similar spelling, by its whole key or by its last part."""
    import difflib

    if name == f"{SECTION}.{SECTION}":  # an editor's settings have the section's name, the user's file has not
        return "; write its settings without that name"
    parent = name.rpartition(".")[0]
    known = {spelling: key for spelling, key in _spellings().items() if key != parent}
    spelled = name.removeprefix(f"{SECTION}.").replace("_", "").lower()[:100]
    group, _, last = spelled.rpartition(".")
    siblings = {key.rpartition(".")[2]: full for key, full in known.items() if group and key.startswith(f"{group}.")}
    for candidate, keys in ((last, siblings), (spelled, _without_group(known, group)), (last, known)):
        if close := difflib.get_close_matches(candidate, keys, n=1, cutoff=0.75):
            return f"; did you mean {keys[close[0]]}?"
    return ""


def _without_group(known: Mapping[str, str], group: str) -> dict[str, str]:
    """Return the keys outside a group: a shared beginning says nothing about the last parts."""
    return {key: full for key, full in known.items() if not (group and key.startswith(f"{group}."))}


@cache
def _spellings() -> dict[str, str]:
    """Return keys of settings and groups by spellings that a user may try, in lower case."""
    spellings: dict[str, str] = {}
    for setting in describe_settings():
        group, _, last = setting.key.rpartition(".")
        spellings.setdefault(last.lower(), setting.key)
        spellings |= {key.removeprefix(f"{SECTION}.").lower(): key for key in (group, setting.key) if key != SECTION}
    return spellings


def _shown(value: object) -> str:
    """Return a value as JSON, cut to 60 characters and one level."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return f'"{printable(value[:60])}"'
    if isinstance(value, Mapping):
        return "a group of settings"
    if isinstance(value, list | tuple):
        parts = ("[...]" if isinstance(part, list | tuple) else _shown(part) for part in value[:9])
        return f"[{', '.join(parts)}]"[:60]
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a huge number"  # str() raises from 4,301 digits on
    return printable(str(value)[:60])
