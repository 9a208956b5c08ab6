"""The tree of settings: any input gives valid settings and printable messages."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.setting_descriptions import SettingDescription, describe_settings
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import SettingsLayer, load_user_file, read_settings, user_file

if TYPE_CHECKING:
    from pathlib import Path

ALL_KEYS = [
    *("enabled", "trigger", "languages", "disabledGlobs", "secretFiles"),
    *("model.path", "model.name", "model.contextLength", "model.gpuLayers", "model.threads"),
    *("model.lora.path", "model.lora.scale"),
    *("completion.maxTokens", "completion.maxItems", "completion.multiline", "completion.timeoutMs"),
    *(
        "completion.minConfidence",
        "completion.calm",
        "completion.asMenuItems",
        "completion.temperature",
        "completion.seed",
    ),
    *("context.maxTokens", "context.suffixShare", "context.openFiles", "context.recentEdits", "context.imports"),
    *("context.maxSnippetTokens", "context.maxPrefillMs", "debounce.mode", "debounce.ms"),
    *("cache.ramMiB", "cache.diskMiB", "cache.type", "cache.reuseMoved"),
    *("host.shared", "host.idleMinutes", "host.transport"),
    *("engine.kind", "engine.url", "engine.model", "engine.vocabulary", "engine.apiKeyEnv", "engine.headers"),
    *("engine.allowHttp", "engine.timeoutMs", "engine.prefillAhead", "engine.promptForm", "engine.sessionHeaders"),
    *("engine.cacheSalt", "engine.fallback"),
    *("stats.enabled", "stats.days", "logLevel"),
]
TRUSTED_ONLY = [
    "secretFiles",
    "model.path",
    "model.name",
    "model.lora.path",
    "stats.days",
    *(key for key in ALL_KEYS if key.startswith("engine.")),
]
LOWERED = ["cache.ramMiB", "cache.diskMiB", "completion.timeoutMs"]
LOWERED += ["context.maxTokens", "context.maxSnippetTokens", "context.maxPrefillMs"]
BY_KEY = {setting.key.removeprefix("starcoder."): setting for setting in describe_settings()}


def layer(values: Any, *, trusted: bool = True) -> SettingsLayer:
    return SettingsLayer("the workspace", values, trusted)


def nested(key: str, value: object) -> dict[str, object]:
    """`{"completion": {"maxTokens": value}}` for `completion.maxTokens`."""
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def lookup(settings: object, key: str) -> object:
    """Return the value at a camelCase key, by a conversion of its own."""
    for part in key.split("."):
        name = part.replace("MiB", "_mib")
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        settings = getattr(settings, name)
    return settings


def is_valid(value: object, setting: SettingDescription) -> bool:
    python_type = {"boolean": bool, "integer": int, "number": float, "string": str, "array of strings": tuple}
    if type(value) is not python_type[setting.type_name]:
        return False
    if isinstance(value, tuple):
        return all(isinstance(text, str) for text in value)
    if isinstance(value, int | float) and setting.limits:
        return setting.limits[0] <= value <= setting.limits[1]
    return not setting.choices or value in setting.choices


def valid_values(setting: SettingDescription) -> st.SearchStrategy[Any]:
    low, high = setting.limits or (0, 0)
    return {
        "boolean": st.booleans(),
        "integer": st.integers(int(low), int(high)),
        "number": st.floats(low, high),
        "string": st.sampled_from(setting.choices) if setting.choices else st.text(),
        "array of strings": st.lists(st.text()),
    }[setting.type_name]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**4000) | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
near_misses = st.sampled_from([part for key in [*ALL_KEYS, "max_tokens", "Model", "ram"] for part in key.split(".")])
wild_layers = st.builds(
    SettingsLayer,
    st.text(),
    anything
    | st.dictionaries(
        near_misses | st.text() | st.integers(),
        anything | st.dictionaries(near_misses | st.text(), anything, max_size=5),
        max_size=5,
    ),
    st.booleans(),
)


def test_the_keys_are_the_documented_ones():
    assert list(BY_KEY) == ALL_KEYS


def test_no_layers_give_the_defaults_and_each_default_is_valid():
    settings, problems = read_settings([])
    assert (settings, problems) == (Settings(), ())
    for key, setting in BY_KEY.items():
        value = lookup(settings, key)
        assert is_valid(value, setting), key
        assert setting.default == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda setting: setting.key)
def test_each_setting_is_described_in_whole_sentences(setting: SettingDescription):
    assert setting.description[0].isupper() or setting.description[0] == "`"
    assert setting.description.endswith(".")
    assert "\n" not in setting.description
    assert "  " not in setting.description


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda setting: setting.key)
def test_the_description_names_each_choice(setting: SettingDescription):
    assert not [choice for choice in setting.choices if f"`{choice}`" not in setting.description]


@given(data=st.data(), key=st.sampled_from(ALL_KEYS))
def test_every_valid_value_is_used(data: st.DataObject, key: str):
    value = data.draw(valid_values(BY_KEY[key]))
    settings, problems = read_settings([layer(nested(key, value))])
    assert problems == ()
    assert lookup(settings, key) == (tuple(value) if isinstance(value, list) else value)
    for other in set(ALL_KEYS) - {key}:
        assert lookup(settings, other) == lookup(Settings(), other)


@given(data=st.data(), key=st.sampled_from(ALL_KEYS))
def test_a_later_layer_wins_and_null_is_no_value(data: st.DataObject, key: str):
    first, second = data.draw(valid_values(BY_KEY[key])), data.draw(valid_values(BY_KEY[key]))
    one, two, nothing = layer(nested(key, first)), layer(nested(key, second)), layer(nested(key, None))
    assert read_settings([one, two, nothing, layer(None), layer({})]) == read_settings([two])
    assert read_settings([two, one]) == read_settings([one])


@given(st.lists(wild_layers, max_size=3))
def test_any_input_gives_valid_settings_and_printable_messages(layers: list[SettingsLayer]):
    settings, problems = read_settings(layers)
    for key, setting in BY_KEY.items():
        assert is_valid(lookup(settings, key), setting), key
        if key in TRUSTED_ONLY and not any(one.trusted for one in layers):
            assert lookup(settings, key) == lookup(Settings(), key)
    for problem in problems:
        assert problem.isprintable()
        assert problem.startswith("starcoder")
        assert len(problem) < 400


@given(data=st.data(), key=st.sampled_from(ALL_KEYS))
def test_a_bad_value_keeps_the_earlier_one_and_is_reported_once(data: st.DataObject, key: str):
    good = data.draw(valid_values(BY_KEY[key]))
    settings, problems = read_settings([layer(nested(key, good)), layer(nested(key, {"no": "value"}))])
    assert settings == read_settings([layer(nested(key, good))])[0]
    (problem,) = problems
    assert problem.startswith(f"starcoder.{key}: expected ")
    assert "got a group of settings; using " in problem


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("completion.maxTokens", "many", 'expected a whole number from 1 to 1024, got "many"; using 64'),
        ("completion.maxTokens", True, "expected a whole number from 1 to 1024, got true; using 64"),
        ("completion.maxTokens", 1025, "expected a whole number from 1 to 1024, got 1025; using 64"),
        ("completion.maxTokens", 2.5, "expected a whole number from 1 to 1024, got 2.5; using 64"),
        ("completion.maxTokens", float("inf"), "expected a whole number from 1 to 1024, got inf; using 64"),
        ("completion.temperature", float("nan"), "expected a number from 0 to 2, got nan; using 0.0"),
        ("completion.seed", 10**4000, "expected a whole number from 0 to 4294967295, got a huge number; using 0"),
        ("completion.multiline", "Auto", 'expected "auto" or "never" or "always", got "Auto"; using "auto"'),
        ("languages", "python", 'expected a list of strings, got "python"; using []'),
        ("languages", ["python", 1, ["go"]], 'expected a list of strings, got ["python", 1, [...]]; using []'),
        ("enabled", 0, "expected true or false, got 0; using true"),
        ("logLevel", "a\nb", 'expected "error" or "warning" or "info" or "debug", got "a?b"; using "info"'),
        ("debounce", 5, "expected a group of settings, got 5; ignored"),
    ],
)
def test_messages_name_the_expected_type_and_the_value_in_use(key: str, value: object, message: str):
    assert read_settings([layer(nested(key, value))]) == (Settings(), (f"starcoder.{key}: {message}",))


def test_a_number_too_long_to_print_is_called_huge():
    _, (problem,) = read_settings([layer(nested("completion.seed", -(10**5000)))])
    assert "got a huge number" in problem


def test_a_float_without_fraction_is_accepted_as_a_whole_number():
    settings, problems = read_settings([layer(nested("completion.maxTokens", 80.0))])
    assert (settings.completion.max_tokens, type(settings.completion.max_tokens), problems) == (80, int, ())


def test_settings_that_are_no_group_are_one_message():
    assert read_settings([layer([1])]) == (Settings(), ("starcoder: expected a group of settings, got [1]; ignored",))


@pytest.mark.parametrize("values", [[], {}, *({group: []} for group in ("completion", "model", "cache"))])
def test_an_empty_table_of_lua_sets_nothing(values: object):
    assert read_settings([layer(values)]) == (Settings(), ())


@pytest.mark.parametrize("key", ALL_KEYS)
def test_a_workspace_cannot_set_files_addresses_and_programs(key: str):
    setting = BY_KEY[key]
    value = (
        setting.choices[-1] if setting.choices else {"string": "/x", "array of strings": ["x"]}.get(setting.type_name)
    )
    if value is None:
        value = setting.limits[key not in LOWERED] if setting.limits else not setting.default
    settings, problems = read_settings([layer(nested(key, value), trusted=False)])
    if key in TRUSTED_ONLY:
        assert settings == Settings()
        using = json.dumps(setting.default)
        assert problems == (f"starcoder.{key}: cannot be set by the workspace, only by you; using {using[:60]}",)
    else:
        assert settings != Settings() or value == setting.default
        assert problems == ()


@given(data=st.data(), key=st.sampled_from(ALL_KEYS))
def test_what_the_user_has_set_may_come_from_a_workspace_too(data: st.DataObject, key: str):
    """Helix sends the user's own table as `initializationOptions`, and again in reply to `workspace/configuration`."""
    own = layer(nested(key, data.draw(valid_values(BY_KEY[key]))))
    assert read_settings([own, layer(own.values, trusted=False)]) == read_settings([own])


def test_a_workspace_can_turn_the_record_off_but_not_on():
    off, on = ({"stats": {"enabled": value}} for value in (False, True))
    settings, problems = read_settings([layer(off, trusted=False)])
    assert (settings.stats.enabled, problems) == (False, ())
    settings, problems = read_settings([layer(off, trusted=True), layer(on, trusted=False)])
    assert not settings.stats.enabled
    assert problems == ("starcoder.stats.enabled: cannot be set by the workspace, only by you; using false",)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("completion.max_tokens", "completion.maxTokens"),
        ("completion.MaxTokens", "completion.maxTokens"),
        ("completion.maxToken", "completion.maxTokens"),
        ("compeltion.maxTokens", "completion"),
        ("maxItems", "completion.maxItems"),
        ("cache.ramMb", "cache.ramMiB"),
        ("completions", "completion"),
        ("language", "languages"),
    ],
)
def test_a_similar_key_is_proposed_for_an_unknown_one(wrong: str, right: str):
    unknown = wrong if right != "completion" else wrong.partition(".")[0]
    message = f"starcoder.{unknown}: unknown setting, ignored; did you mean starcoder.{right}?"
    assert read_settings([layer(nested(wrong, 1))]) == (Settings(), (message,))


def test_a_file_with_the_section_of_an_editor_is_told_to_leave_it_out(tmp_path: Path):
    path = write(tmp_path / "a.toml", b"[starcoder.completion]\nmaxTokens = 12\n")
    message = "starcoder.starcoder: unknown setting, ignored; write its settings without that name"
    assert read_settings([load_user_file(path)]) == (Settings(), (message,))


@pytest.mark.parametrize("wrong", ["foo", "", "completion.\x1b[31m", 7])
def test_nothing_is_proposed_for_a_key_like_no_other(wrong: object):
    values = nested(wrong, 1) if isinstance(wrong, str) else {wrong: 1}
    settings, problems = read_settings([layer(values)])
    assert settings == Settings()
    (problem,) = problems
    assert problem.endswith(": unknown setting, ignored")
    assert problem.isprintable()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_the_user_file_is_toml_and_trusted(tmp_path: Path):
    text = b'\xef\xbb\xbflogLevel = "debug"\nmodel.path = "~/x.gguf"\n[completion]\nmaxTokens = 12\n'
    settings, problems = read_settings([load_user_file(write(tmp_path / "a.toml", text))])
    assert (settings.log_level, settings.model.path, settings.completion.max_tokens) == ("debug", "~/x.gguf", 12)
    assert problems == ()


def test_a_missing_user_file_is_no_problem(tmp_path: Path):
    assert read_settings([load_user_file(tmp_path / "none" / "a.toml")]) == (Settings(), ())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"completion = [", "is not valid TOML"),
        (b"a = 1\na = 2", "is not valid TOML"),
        (b"a = \xff", "is not in UTF-8"),
        (b"a = " + b"[" * 100_000, "is nested too deeply"),
        (b"a = " + b"9" * 5000, "is not valid TOML"),
    ],
)
def test_a_bad_user_file_is_one_message(tmp_path: Path, content: bytes, words: str):
    path = write(tmp_path / "a.toml", content)
    settings, (problem,) = read_settings([load_user_file(path)])
    assert settings == Settings()
    assert problem.startswith(f"{path} {words}")
    assert problem.endswith("; it is ignored")
    assert problem.isprintable()


def test_a_folder_in_place_of_the_user_file_is_one_message(tmp_path: Path):
    settings, (problem,) = read_settings([load_user_file(tmp_path)])
    assert settings == Settings()
    assert problem.startswith(f"{tmp_path} cannot be read (")


@given(st.binary(max_size=200))
def test_no_bytes_in_the_user_file_raise_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = write(tmp_path_factory.getbasetemp() / "any.toml", content)
    read_settings([load_user_file(path)])


def test_the_user_file_is_in_the_config_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_file().name == "starcoder-lsp.toml"
    assert user_file().parent.name == "starcoder-lsp"


def test_importing_the_settings_loads_nothing_slow():
    program = "import sys, starcoder_lsp.settings_layers; print(*sorted(sys.modules))"
    # The command is this interpreter with the program above.
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout.split()  # noqa: S603
    slow = {"rich", "platformdirs", "tomllib", "difflib", "pygls", "lsprotocol", "tree_sitter", "llama_cpp", "numpy"}
    assert not slow & set(loaded)
