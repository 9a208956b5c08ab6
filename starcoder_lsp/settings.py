"""The tree of settings: names, defaults, limits and descriptions.

The classes below are the only source. `settings_layers.py` reads and checks values by them. The README's table and the
VS Code extension's schema come from `describe_settings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
from attrs import field, frozen

from starcoder_lsp.setting_rules import fields_of, rules_of, setting

SECTION: Final = "starcoder"
"""The section of these settings in an editor's configuration. Every key begins with it."""

_TYPE_NAMES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", tuple: "array of strings"}


@frozen
class ModelSettings:
    """Which model is run, and on what."""

    path: str = setting(
        "The model: a StarCoder2 or StarCoder file in GGUF format; a leading `~` is the home folder. Empty means the"
        " small demonstrator that comes with the package. A workspace cannot set it.",
        default="",
        trusted_only=True,
    )
    name: str = setting(
        "The name of a model that was downloaded before, used where `model.path` is empty. A workspace cannot set it.",
        reserved=True,
        default="",
        trusted_only=True,
    )
    context_length: int = setting(
        "How many tokens the model keeps, prompt and answer together; it is cut to what the model was trained on."
        " StarCoder2 was trained with a sliding window of 4096, so that more may not make better answers.",
        default=4096,
        limits=(256, 16_384),
    )
    gpu_layers: int = setting(
        "How many layers of the model run on the GPU: 0 is none, -1 all of them where llama.cpp was built for a GPU.",
        default=-1,
        limits=(-1, 1000),
    )
    threads: int = setting(
        "How many CPU threads compute. 0 means one for each physical core, which is nearly always the fastest.",
        default=0,
        limits=(0, 1024),
    )


@frozen
class CompletionSettings:
    """What a completion may be."""

    max_tokens: int = setting(
        "The longest completion, in tokens; a line of code has about 10.", default=64, limits=(1, 1024)
    )
    max_items: int = setting(
        "How many completions an explicit request gets. An automatic one gets one.",
        default=3,
        limits=(1, 8),
    )
    multiline: str = setting(
        "Whether a completion may have more than one line. `auto` allows it where a block begins or a line is empty.",
        default="auto",
        choices=("auto", "never", "always"),
    )
    timeout_ms: int = setting(
        "After how many milliseconds a completion ends with what there is by then.",
        default=10_000,
        limits=(100, 120_000),
    )
    min_confidence: float = setting(
        "Completions less likely than this are not shown: the mean natural logarithm of their first eight tokens'"
        " probabilities. -100 shows everything, -0.5 only what the model is rather sure of.",
        default=-100.0,
        limits=(-100, 0),
    )
    as_menu_items: str = setting(
        "Whether completions stand in the completion menu too. `auto` means: in editors without inline completion.",
        default="auto",
        choices=("auto", "never", "always"),
    )
    temperature: float = setting(
        "How freely the model chooses. 0 takes the likeliest token each time, and gives the same answer each time.",
        default=0.0,
        limits=(0, 2),
    )
    seed: int = setting(
        "Where chance begins when `completion.temperature` is above 0; the same seed gives the same answer.",
        default=0,
        limits=(0, 2**32 - 1),
    )


@frozen
class ContextSettings:
    """What the model sees."""

    max_tokens: int = setting(
        "How many tokens the text before and after the cursor may take together.", default=1920, limits=(64, 16_384)
    )
    suffix_share: float = setting(
        "Which share of `context.maxTokens` goes to the text after the cursor.", default=0.2, limits=(0, 0.9)
    )
    open_files: bool = setting("Whether the model sees fitting pieces of other open files.", default=True)
    recent_edits: bool = setting("Whether the model sees what was edited lately in other files.", default=True)
    imports: bool = setting("Whether the model sees definitions of what a file imports from others.", default=True)
    max_snippet_tokens: int = setting(
        "How many tokens pieces of other files may take together, beside `context.maxTokens`; at most a quarter of a"
        " prompt. 0 shows none.",
        default=512,
        limits=(0, 8192),
    )
    max_prefill_ms: int = setting(
        "How many milliseconds reading a new prompt may take. At a place that is new the text is cut to what the model"
        " has been seen to read in that time, so that a slow machine answers late but not too late. The rest of"
        " `context.maxTokens` is read when nobody types.",
        default=4000,
        limits=(50, 120_000),
    )


@frozen
class DebounceSettings:
    """How long an automatic request waits for the next keystroke."""

    mode: str = setting(
        "`fixed` waits `debounce.ms`, `off` not at all.",
        default="fixed",
        choices=("off", "fixed"),
    )
    ms: int = setting("The wait in milliseconds.", default=75, limits=(0, 5000))


@frozen
class CacheSettings:
    """What is kept of documents that are not being edited."""

    ram_mib: int = setting(
        "How many MiB of memory hold the model's state for documents that were left, so that coming back is quick.",
        default=512,
        limits=(0, 1 << 20),
        key="ramMiB",
    )
    disk_mib: int = setting(
        "How many MiB of disk space hold the same from one start to the next, in your cache folder and for your eyes"
        " only: pieces of your source text can be read from it. 0 keeps none.",
        default=0,
        limits=(0, 1 << 20),
        key="diskMiB",
    )


@frozen
class HostSettings:
    """The process that the local model runs in."""

    shared: bool = setting(
        "Whether all editors on this machine share one process for a model, and with it one copy of its weights. A"
        " process of one server's own ends with that server.",
        default=True,
    )
    idle_minutes: float = setting(
        "How many minutes a shared process waits for another editor after the last one left.",
        default=5.0,
        limits=(0, 10_080),
    )
    transport: str = setting(
        "How servers connect to that process: by a `socket` file of yours, or by a loopback `port` and a secret in a"
        " file of yours. `auto` takes socket files where the system has them.",
        default="auto",
        choices=("auto", "socket", "port"),
    )


@frozen
class EngineSettings:
    """Where the model runs. All of it is the user's alone: it decides where source code is sent."""

    kind: str = setting(
        "Where the model runs: `local` is on this machine, the only place so far. A workspace cannot set it.",
        reserved=True,
        default="local",
        choices=("local",),
        trusted_only=True,
    )
    url: str = setting(
        "The address of an engine that is not local. A workspace cannot set it.",
        reserved=True,
        default="",
        trusted_only=True,
    )
    model: str = setting(
        "Which model an engine that is not local is asked for. A workspace cannot set it.",
        reserved=True,
        default="",
        trusted_only=True,
    )
    api_key_env: str = setting(
        "Which environment variable holds the key for an engine that is not local. A workspace cannot set it.",
        reserved=True,
        default="",
        trusted_only=True,
    )


@frozen
class StatsSettings:
    """What is counted."""

    enabled: bool = setting(
        "Whether counts of shown and accepted completions are kept on this machine. They are sent nowhere.",
        reserved=True,
        default=False,
    )


@frozen
class Settings:
    """All settings."""

    enabled: bool = setting("Whether anything is completed at all.", default=True)
    trigger: str = setting(
        "`automatic` completes while you type, `invoked` only when you ask for it.",
        default="automatic",
        choices=("automatic", "invoked"),
    )
    languages: tuple[str, ...] = setting(
        "The language identifiers, such as `python`, in which to complete. Empty means all.", default=()
    )
    disabled_globs: tuple[str, ...] = setting("Files in which nothing is completed, as `**/*.env`.", default=())
    model: ModelSettings = field(factory=ModelSettings)
    completion: CompletionSettings = field(factory=CompletionSettings)
    context: ContextSettings = field(factory=ContextSettings)
    debounce: DebounceSettings = field(factory=DebounceSettings)
    cache: CacheSettings = field(factory=CacheSettings)
    host: HostSettings = field(factory=HostSettings)
    engine: EngineSettings = field(factory=EngineSettings)
    stats: StatsSettings = field(factory=StatsSettings)
    log_level: str = setting(
        "How much is logged. No level logs source text.",
        default="info",
        choices=("error", "warning", "info", "debug"),
    )


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
            description=rules.description,
            choices=rules.choices,
            limits=rules.limits,
            trusted_only=rules.trusted_only,
            reserved=rules.reserved,
        )
