"""The messages between a language server and the host of its model, and their encoding.

A message is its length in 4 bytes, big-endian, and a MessagePack array that begins with the message's kind. It holds
ids, numbers, bytes and names only: decoding cannot run code.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from starcoder_lsp.engine.stream import StopReason

MAX_BYTES = 64 * 1024 * 1024
"""A longer message is refused. A prompt has at most some ten thousand ids of up to 5 bytes."""
LENGTH = struct.Struct(">I")

Id = Annotated[int, Meta(ge=0, lt=2**31)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]


class Hello(Struct, tag="hello", array_like=True, frozen=True):
    """A client's first message. `key` names model, settings and version; `secret` is empty on a socket file."""

    key: str
    secret: str
    process_id: int
    name: str


class Inquiry(Struct, tag="inquiry", array_like=True, frozen=True):
    """A first message in place of `Hello` that asks for the host's status. `Done` answers and ends the connection.

    It needs no key, so that `doctor` can ask hosts with other settings.
    """

    secret: str


class Generate(Struct, tag="generate", array_like=True, frozen=True):
    """Decode answers to a prompt; see `GenerationRequest`. With no answers only evaluate the prompt."""

    request: Count
    document: str
    ids: list[Id]
    n_answers: Count
    is_ahead: bool
    stop_ids: list[Id] = []
    heal: bytes = b""
    avoid: bytes = b""
    max_new_tokens: Count = 0
    beam_margin_nats: Annotated[float, Meta(ge=0)] = 0.0
    temperature: Annotated[float, Meta(ge=0, le=100)] = 0.0
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0


class Drop(Struct, tag="drop", array_like=True, frozen=True):
    """End one answer."""

    request: Count
    answer: Count


class Close(Struct, tag="close", array_like=True, frozen=True):
    """End all answers; the cells of `kept_answer` stay."""

    request: Count
    kept_answer: Count


class Score(Struct, tag="score", array_like=True, frozen=True):
    """Return the log-probability of each of `targets` behind a prompt."""

    request: Count
    ids: list[Id]
    heal: bytes
    targets: list[Id]


class Measure(Struct, tag="measure", array_like=True, frozen=True):
    """Measure a step, as `Measurement.step` has them. For a private host: other clients get no turn meanwhile."""

    request: Count
    step: str
    n: Count


class Persist(Struct, tag="persist", array_like=True, frozen=True):
    """Write a document's state to disk, if states go there."""

    document: str


class Forget(Struct, tag="forget", array_like=True, frozen=True):
    """Drop everything that is cached for this client; answered by `Done`."""

    request: Count


class End(Struct, tag="end", array_like=True, frozen=True):
    """End the host, unless another client uses it, so that the model is loaded again."""


class Cached(Struct, tag="cached", array_like=True, frozen=True):
    """Return what is cached for this client."""

    request: Count


class Status(Struct, tag="status", array_like=True, frozen=True):
    """Return the host's state and its clients."""

    request: Count


class Welcome(Struct, tag="welcome", array_like=True, frozen=True):
    """The host accepts the client; the model may still be loading."""

    process_id: int


class Refused(Struct, tag="refused", array_like=True, frozen=True):
    """The host refuses the client. The connection ends."""

    reason: str


class Loading(Struct, tag="loading", array_like=True, frozen=True):
    """The share of the model that is loaded, 0 to 1."""

    share: float


class Ready(Struct, tag="ready", array_like=True, frozen=True):
    """The model is loaded. `caution` is its rung of the ladder."""

    n_gpu_layers: int
    prefill_speed: float
    caution: int


class Failed(Struct, tag="failed", array_like=True, frozen=True):
    """The model cannot be loaded. The connection ends."""

    message: str


class Tokens(Struct, tag="tokens", array_like=True, frozen=True):
    """The tokens of one step: answer, id, log-probability in nats, and why the answer ends there if it does."""

    request: int
    tokens: list[tuple[int, int, float, StopReason | None]]
    n_reused: int
    n_evaluated: int
    evaluation_ms: float


class Ended(Struct, tag="ended", array_like=True, frozen=True):
    """The last message of a `Generate`. `error` is empty, or one line."""

    request: int
    n_reused: int
    n_evaluated: int
    evaluation_ms: float
    is_complete: bool
    prefill_speed: float
    error: str


class Done(Struct, tag="done", array_like=True, frozen=True):
    """The answer to every other request: plain values, or an error of one line."""

    request: int
    value: msgspec.Raw
    error: str = ""


ToHost = Hello | Inquiry | Generate | Drop | Close | Score | Measure | Persist | Forget | End | Cached | Status
ToClient = Welcome | Refused | Loading | Ready | Failed | Tokens | Ended | Done

_encoder = msgspec.msgpack.Encoder()
_from_client = msgspec.msgpack.Decoder(ToHost)
_from_host = msgspec.msgpack.Decoder(ToClient)


class WireError(Exception):
    """The bytes are no message, or one that is not expected."""


def framed(message: Struct) -> bytes:
    """Encode a message with its length."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def raw(value: object) -> msgspec.Raw:
    """Encode a plain value for `Done`."""
    return msgspec.Raw(_encoder.encode(value))


def value_of(done: Done) -> object:
    """Decode the value of `Done`."""
    return msgspec.msgpack.decode(done.value)


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next message's body, or `None` at the end of the stream. Raises `WireError` if it is too long."""
    try:
        (n_bytes,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if n_bytes > MAX_BYTES:
            message = f"a message of {n_bytes} bytes"
            raise WireError(message)
        return await reader.readexactly(n_bytes)
    except (asyncio.IncompleteReadError, OSError):
        return None


async def read_from_client(reader: asyncio.StreamReader) -> ToHost | None:
    """Return the client's next message, or `None` if it has disconnected. Raises `WireError`."""
    body = await _read(reader)
    try:
        return None if body is None else _from_client.decode(body)
    except msgspec.DecodeError as error:
        raise WireError(str(error)) from error


async def read_from_host(reader: asyncio.StreamReader) -> ToClient | None:
    """Return the host's next message, or `None` if it is gone. Raises `WireError`."""
    body = await _read(reader)
    try:
        return None if body is None else _from_host.decode(body)
    except msgspec.DecodeError as error:
        raise WireError(str(error)) from error
