"""The settings `engine.*` of a remote engine. A workspace can set none of them: they decide where code is sent."""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.setting_rules import setting


@frozen
class EngineSettings:
    """The place where the model runs."""

    kind: str = setting(
        "The kind of engine that runs the model. `local` is a process on this machine. The others are servers at"
        " `engine.url`: `vllm` (also NIM, Ray Serve and Dynamo), `llama-server`, `openai` (any `/v1/completions` that"
        " takes text), `ollama` and `tgi`. See docs/teams.md.",
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
        "The name of the model to request from the server. Empty means its only one.",
        default="",
        trusted_only=True,
    )
    vocabulary: str = setting(
        "The vocabulary of that model: a GGUF file, or the `tokenizer.json` of its repository. Empty means that of"
        " `model.path` or `model.name`.",
        default="",
        trusted_only=True,
    )
    api_key_env: str = setting(
        "The name of the environment variable that holds the server's key. Do not write the key itself into settings.",
        default="",
        trusted_only=True,
    )
    headers: tuple[str, ...] = setting(
        "Further headers of each request, as `Name: value`. No keys: a header's value may be written to a log.",
        default=(),
        trusted_only=True,
    )
    allow_http: bool = setting(
        "Allow `http://` for a server on another machine: everybody on the way can read the source text.",
        default=False,
        trusted_only=True,
    )
    timeout_ms: int = setting(
        "The milliseconds without a byte from the server after which a request fails. After three failed requests in a"
        " row the server counts as away.",
        default=10_000,
        limits=(100, 600_000),
        trusted_only=True,
    )
    prefill_ahead: str = setting(
        "Evaluate prompts while you do not type, before they are needed: `always`, `never`, or `auto`, only on this"
        " machine, since elsewhere others share the GPU.",
        default="auto",
        choices=("auto", "always", "never"),
        trusted_only=True,
    )
    prompt_form: str = setting(
        "Send prompts as token `ids` or as `text`. Ids are exact. Text is for a router that cannot hash ids; `openai`,"
        " `ollama` and `tgi` always get text.",
        default="ids",
        choices=("ids", "text"),
        trusted_only=True,
    )
    session_headers: tuple[str, ...] = setting(
        "Headers that carry a random id for each document, so that a router sends all its requests to one GPU.",
        default=("x-session-id", "x-user-id", "X-Dynamo-Session-ID"),
        trusted_only=True,
    )
    cache_salt: str = setting(
        "A value for vLLM's `cache_salt`: prompts share cached blocks only with prompts that have the same salt.",
        default="",
        trusted_only=True,
    )
    fallback: str = setting(
        "The engine that answers while the server is away: `none`, or `local`, the model of `model.path` or"
        " `model.name`.",
        default="none",
        choices=("none", "local"),
        trusted_only=True,
    )
