"""The settings of an engine that is not local, `engine.*`. All are the user's alone: they decide where code is sent."""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.setting_rules import setting


@frozen
class EngineSettings:
    """The place where the model runs."""

    kind: str = setting(
        "Where the model runs. `local` is a process on this machine. The others are servers at `engine.url`: `vllm`"
        " (also NIM, Ray Serve and Dynamo), `llama-server`, `openai` (any `/v1/completions` that takes text), `ollama`"
        " and `tgi`. docs/teams.md says more.",
        default="local",
        choices=("local", "vllm", "openai", "llama-server", "ollama", "tgi"),
        trusted_only=True,
    )
    url: str = setting(
        "The address of that server, such as `https://gpu.example.com`. Source text around the cursor is sent there.",
        default="",
        trusted_only=True,
    )
    model: str = setting(
        "Which model the server is asked for. Empty means its only one.",
        default="",
        trusted_only=True,
    )
    vocabulary: str = setting(
        "The vocabulary of that model: a GGUF file, or the `tokenizer.json` of its repository. Empty means that of"
        " `model.path`.",
        default="",
        trusted_only=True,
    )
    api_key_env: str = setting(
        "The name of the environment variable that holds the server's key. The key itself never stands in a file of"
        " settings.",
        default="",
        trusted_only=True,
    )
    headers: tuple[str, ...] = setting(
        "Further headers of each request, as `Name: value`. No keys: a header's value may be written to a log.",
        default=(),
        trusted_only=True,
    )
    allow_http: bool = setting(
        "Whether `http://` may be used beyond this machine, where everybody on the way can read the source text.",
        default=False,
        trusted_only=True,
    )
    timeout_ms: int = setting(
        "How many milliseconds the server may say nothing before it counts as away.",
        default=10_000,
        limits=(100, 600_000),
        trusted_only=True,
    )
    prefill_ahead: str = setting(
        "Whether prompts are evaluated before anybody waits for them. `auto` means: only by a server on this machine,"
        " since elsewhere it costs a GPU that others share.",
        default="auto",
        choices=("auto", "always", "never"),
        trusted_only=True,
    )
    prompt_form: str = setting(
        "Whether prompts are sent as token `ids` or as `text`. Ids are exact. Text is for a router that cannot hash"
        " ids; `openai`, `ollama` and `tgi` take nothing else.",
        default="ids",
        choices=("ids", "text"),
        trusted_only=True,
    )
    session_headers: tuple[str, ...] = setting(
        "Headers that carry a random id of each document, by which a router sends it to one GPU.",
        default=("x-session-id", "x-user-id", "X-Dynamo-Session-ID"),
        trusted_only=True,
    )
    cache_salt: str = setting(
        "Sent to vLLM as `cache_salt`: prompts share cached blocks only with prompts of the same salt.",
        default="",
        trusted_only=True,
    )
    fallback: str = setting(
        "What answers while the server is away: `none`, or the `local` model of `model.path`.",
        default="none",
        choices=("none", "local"),
        trusted_only=True,
    )
