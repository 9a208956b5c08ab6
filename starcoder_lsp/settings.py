"""One tree of settings, and one reader that turns what editors and files say into it.

The classes below are the single source: a field's name, default, limits and description give the reader, its messages
and `describe_settings`. Bad input never stops anything: the value that stood before it stays, and one message says so.
Who asks for the settings, and when, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar

import attrs
from attrs import field, frozen

if TYPE_CHECKING:
    from pathlib import Path

SECTION: Final = "starcoder"
"""What editors call the section of these settings; each key outside begins with it."""

FILE_NAME: Final = "starcoder-lsp.toml"

T = TypeVar("T")


@frozen
class _Rules:
    """What the reader knows of a field besides its name and its default.

    `key` is its name outside, in camelCase. A `reserved` one is read and checked, and has no effect yet.
    """

    description: str
    choices: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    trusted_only: bool = False
    reserved: bool = False
    key: str = ""


def _setting(description: str, *, default: T, **rules: Any) -> T:
    made: T = field(default=default, metadata={_Rules: _Rules(description, **rules)})
    return made


@frozen
class ModelSettings:
    """Which model is run, and on what."""

    path: str = _setting(
        "The model: a StarCoder2 or StarCoder file in GGUF format; a leading `~` is the home folder. Empty means the"
        " small demonstrator that comes with the package. A workspace cannot set it.",
        default="",
        trusted_only=True,
    )
    name: str = _setting(
        "The name of a model that was downloaded before, used where `model.path` is empty. A workspace cannot set it.",
        reserved=True,
        default="",
        trusted_only=True,
    )
    context_length: int = _setting(
        "How many tokens the model keeps, prompt and answer together; it is cut to what the model was trained on."
        " StarCoder2 was trained with a sliding window of 4096, so that more may not make better answers.",
        default=4096,
        limits=(256, 16_384),
    )
    gpu_layers: int = _setting(
        "How many layers of the model run on the GPU: 0 is none, -1 all of them where llama.cpp was built for a GPU.",
        default=-1,
        limits=(-1, 1000),
    )
    threads: int = _setting(
        "How many CPU threads compute. 0 means one for each physical core, which is nearly always the fastest.",
        default=0,
        limits=(0, 1024),
    )


@frozen
class CompletionSettings:
    """What a completion may be."""

    max_tokens: int = _setting(
        "The longest completion, in tokens; a line of code has about 10.", default=64, limits=(1, 1024)
    )
    max_items: int = _setting(
        "How many completions an explicit request gets. An automatic one gets one.",
        reserved=True,
        default=3,
        limits=(1, 8),
    )
    multiline: str = _setting(
        "Whether a completion may have more than one line. `auto` allows it where a block begins or a line is empty.",
        default="auto",
        choices=("auto", "never", "always"),
    )
    timeout_ms: int = _setting(
        "After how many milliseconds a completion ends with what there is by then.",
        default=10_000,
        limits=(100, 120_000),
    )
    min_confidence: float = _setting(
        "Completions less likely than this are not shown: the mean natural logarithm of their tokens' probabilities."
        " -100 shows everything, -0.5 only what the model is rather sure of.",
        reserved=True,
        default=-100.0,
        limits=(-100, 0),
    )
    as_menu_items: str = _setting(
        "Whether completions stand in the completion menu too. `auto` means: in editors without inline completion.",
        reserved=True,
        default="auto",
        choices=("auto", "never", "always"),
    )
    temperature: float = _setting(
        "How freely the model chooses. 0 takes the likeliest token each time, and gives the same answer each time.",
        default=0.0,
        limits=(0, 2),
    )
    seed: int = _setting(
        "Where chance begins when `completion.temperature` is above 0; the same seed gives the same answer.",
        default=0,
        limits=(0, 2**32 - 1),
    )


@frozen
class ContextSettings:
    """What the model sees."""

    max_tokens: int = _setting(
        "How many tokens the text before and after the cursor may take together.", default=1920, limits=(64, 16_384)
    )
    suffix_share: float = _setting(
        "Which share of `context.maxTokens` goes to the text after the cursor.", default=0.2, limits=(0, 0.9)
    )
    open_files: bool = _setting("Whether the model sees fitting pieces of other open files.", default=True)
    recent_edits: bool = _setting("Whether the model sees what was edited lately in other files.", default=True)
    imports: bool = _setting("Whether the model sees definitions of what a file imports from others.", default=True)
    max_snippet_tokens: int = _setting(
        "How many tokens pieces of other files may take together, beside `context.maxTokens`; at most a quarter of a"
        " prompt. 0 shows none.",
        default=512,
        limits=(0, 8192),
    )
    max_prefill_ms: int = _setting(
        "How many milliseconds reading a new prompt may take. At a place that is new the text is cut to what the model"
        " has been seen to read in that time, so that a slow machine answers late but not too late. The rest of"
        " `context.maxTokens` is read when nobody types.",
        default=4000,
        limits=(50, 120_000),
    )


@frozen
class DebounceSettings:
    """How long an automatic request waits for the next keystroke."""

    mode: str = _setting(
        "`fixed` waits `debounce.ms`, `off` not at all.",
        default="fixed",
        choices=("off", "fixed"),
    )
    ms: int = _setting("The wait in milliseconds.", default=75, limits=(0, 5000))


@frozen
class CacheSettings:
    """What is kept of documents that are not being edited."""

    ram_mib: int = _setting(
        "How many MiB of memory hold the model's state for documents that were left, so that coming back is quick.",
        default=512,
        limits=(0, 1 << 20),
        key="ramMiB",
    )
    disk_mib: int = _setting(
        "How many MiB of disk space hold the same from one start to the next, in your cache folder and for your eyes"
        " only: pieces of your source text can be read from it. 0 keeps none.",
        default=0,
        limits=(0, 1 << 20),
        key="diskMiB",
    )


@frozen
class EngineSettings:
    """Where the model runs. All of it is the user's alone: it decides where source code is sent."""

    kind: str = _setting(
        "Where the model runs: `local` is inside this program, the only place so far. A workspace cannot set it.",
        reserved=True,
        default="local",
        choices=("local",),
        trusted_only=True,
    )
    url: str = _setting(
        "The address of an engine that is not local. A workspace cannot set it.",
        reserved=True,
        default="",
        trusted_only=True,
    )
    model: str = _setting(
        "Which model an engine that is not local is asked for. A workspace cannot set it.",
        reserved=True,
        default="",
        trusted_only=True,
    )
    api_key_env: str = _setting(
        "Which environment variable holds the key for an engine that is not local. A workspace cannot set it.",
        reserved=True,
        default="",
        trusted_only=True,
    )


@frozen
class StatsSettings:
    """What is counted."""

    enabled: bool = _setting(
        "Whether counts of shown and accepted completions are kept on this machine. They are sent nowhere.",
        reserved=True,
        default=False,
    )


@frozen
class Settings:
    """All settings."""

    enabled: bool = _setting("Whether anything is completed at all.", default=True)
    trigger: str = _setting(
        "`automatic` completes while you type, `invoked` only when you ask for it.",
        default="automatic",
        choices=("automatic", "invoked"),
    )
    languages: tuple[str, ...] = _setting(
        "The language identifiers, such as `python`, in which to complete. Empty means all.", default=()
    )
    disabled_globs: tuple[str, ...] = _setting("Files in which nothing is completed, as `**/*.env`.", default=())
    model: ModelSettings = field(factory=ModelSettings)
    completion: CompletionSettings = field(factory=CompletionSettings)
    context: ContextSettings = field(factory=ContextSettings)
    debounce: DebounceSettings = field(factory=DebounceSettings)
    cache: CacheSettings = field(factory=CacheSettings)
    engine: EngineSettings = field(factory=EngineSettings)
    stats: StatsSettings = field(factory=StatsSettings)
    log_level: str = _setting(
        "How much is logged. No level logs source text.",
        default="info",
        choices=("error", "warning", "info", "debug"),
    )


@frozen
class SettingsLayer:
    """Settings from one place: `values` as that place has them, nested and in camelCase.

    `trusted` is true for what the user alone writes, such as their own file, and false for what a workspace may have
    brought along. `problems` are messages from reading the place itself.
    """

    name: str
    values: Mapping[str, object]
    trusted: bool
    problems: tuple[str, ...] = ()


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
    reserved: bool


def read_settings(layers: Sequence[SettingsLayer]) -> tuple[Settings, tuple[str, ...]]:
    """Merge `layers`, of which a later one wins, over the defaults.

    The second result has one plain message for each problem: the key, what was expected, and what is used instead,
    which is the value of the layers before. `None` is no value. Never raises for what a layer holds.
    """
    settings: Any = Settings()
    problems: list[str] = []
    for layer in layers:
        problems += layer.problems
        settings = _read_group(settings, layer.values, SECTION, layer, problems)
    return settings, tuple(problems)


def user_file() -> Path:
    """Where the user's own settings are: `starcoder-lsp.toml` in the platform's folder for configurations."""
    import platformdirs

    return platformdirs.user_config_path("starcoder-lsp", appauthor=False) / FILE_NAME


def load_user_file(path: Path) -> SettingsLayer:
    """Read the user's own settings, a trusted layer. A file that is not there is an empty one, a bad one a problem."""
    import tomllib

    try:
        return SettingsLayer(str(path), tomllib.loads(path.read_text("utf-8-sig")), trusted=True)
    except (FileNotFoundError, NotADirectoryError):
        return SettingsLayer(str(path), {}, trusted=True)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
    except UnicodeDecodeError:
        what = "is not in UTF-8"
    except RecursionError:
        what = "is nested too deeply"
    except ValueError as error:  # tomllib's own error among them, which has line and column; or a NUL in the path
        what = f"is not valid TOML ({error})"
    return SettingsLayer(str(path), {}, trusted=True, problems=(_printable(f"{path} {what}; it is ignored"),))


def describe_settings() -> list[SettingDescription]:
    """Describe each setting, in the order of the tree."""
    return list(_describe(Settings(), SECTION))


def _describe(group: attrs.AttrsInstance, path: str) -> Iterator[SettingDescription]:
    for key, attribute in _fields(group).items():
        default = getattr(group, attribute.name)
        if attrs.has(type(default)):
            yield from _describe(default, f"{path}.{key}")
            continue
        rules = _rules(attribute)
        yield SettingDescription(
            key=f"{path}.{key}",
            type_name=_TYPE_NAMES[type(default)],
            default=list(default) if isinstance(default, tuple) else default,
            description=rules.description,
            choices=rules.choices,
            limits=rules.limits,
            trusted_only=rules.trusted_only,
            reserved=rules.reserved,
        )


def _read_group(group: Any, given: object, path: str, layer: SettingsLayer, problems: list[str]) -> Any:
    """Return `group` with what `given` sets in it."""
    if given is None:
        return group
    if not isinstance(given, Mapping):
        problems.append(f"{path}: expected a group of settings, got {_shown(given)}; ignored")
        return group
    changes: dict[str, object] = {}
    fields = _fields(group)
    for key, value in given.items():
        name = f"{path}.{key}"
        if key not in fields:
            problems.append(_printable(f"{name[:100]}: unknown setting, ignored{_did_you_mean(name)}"))
            continue
        attribute = fields[key]
        current = getattr(group, attribute.name)
        if attrs.has(type(current)):
            changes[attribute.name] = _read_group(current, value, name, layer, problems)
        elif value is None:
            continue
        elif _rules(attribute).trusted_only and not layer.trusted:
            problems.append(f"{name}: cannot be set by {layer.name}, only by you; using {_shown(current)}")
        else:
            expected, accepted = _read_value(_rules(attribute), current, value)
            if accepted is None:
                problems.append(f"{name}: expected {expected}, got {_shown(value)}; using {_shown(current)}")
            else:
                changes[attribute.name] = accepted
    return attrs.evolve(group, **changes)


def _read_value(rules: _Rules, current: object, given: object) -> tuple[str, object]:
    """Return what is expected, in words, and `given` as the type of `current`, or `None` where it is not that."""
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
    """Name the setting or group that is spelled most like `name`, by its whole key or by its last part."""
    import difflib

    parent = name.rpartition(".")[0]
    known = {spelling: key for spelling, key in _spellings().items() if key != parent}
    spelled = name.removeprefix(f"{SECTION}.").replace("_", "").lower()[:100]
    for candidate in (spelled, spelled.rpartition(".")[2]):
        if close := difflib.get_close_matches(candidate, known, n=1, cutoff=0.75):
            return f"; did you mean {known[close[0]]}?"
    return ""


@cache
def _spellings() -> dict[str, str]:
    """Keys of settings and groups, by what a person may have meant by them, in lower case."""
    spellings: dict[str, str] = {}
    for setting in describe_settings():
        group, _, last = setting.key.rpartition(".")
        spellings.setdefault(last.lower(), setting.key)
        spellings |= {key.removeprefix(f"{SECTION}.").lower(): key for key in (group, setting.key) if key != SECTION}
    return spellings


_TYPE_NAMES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", tuple: "array of strings"}


def _fields(group: attrs.AttrsInstance) -> dict[str, attrs.Attribute[Any]]:
    """Fields of a group by their name outside."""
    fields = {}
    for attribute in attrs.fields(type(group)):
        first, *others = attribute.name.split("_")
        key = attribute.metadata[_Rules].key if _Rules in attribute.metadata else ""
        fields[key or first + "".join(map(str.capitalize, others))] = attribute
    return fields


def _rules(attribute: attrs.Attribute[Any]) -> _Rules:
    rules: _Rules = attribute.metadata[_Rules]
    return rules


def _shown(value: object) -> str:
    """Show a value as JSON would, at most 60 characters of it and the first level."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return f'"{_printable(value[:60])}"'
    if isinstance(value, Mapping):
        return "a group of settings"
    if isinstance(value, list | tuple):
        parts = ("[...]" if isinstance(part, list | tuple) else _shown(part) for part in value[:9])
        return f"[{', '.join(parts)}]"[:60]
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a huge number"  # str() raises from 4,301 digits on
    return _printable(str(value)[:60])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
