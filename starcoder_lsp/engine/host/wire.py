"""The messages between a server and the host of its model, and how they stand on a stream.

A message is a MessagePack array whose first element is its kind, behind its length in 4 bytes, big-endian. Ids,
numbers, bytes and names only: nothing that is read here can run.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from starcoder_lsp.engine.stream import StopReason

MAX_BYTES = 64 * 1024 * 1024
"""A longer message is none: a prompt has some ten thousand ids."""
LENGTH = struct.Struct(">I")

Id = Annotated[int, Meta(ge=0, lt=2**31)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]


class Hello(Struct, tag="hello", array_like=True, frozen=True):
    """A client's first message. `key` names model, settings and version; `secret` is empty on a socket of files."""

    key: str
    secret: str
    process_id: int
    name: str


class Inquiry(Struct, tag="inquiry", array_like=True, frozen=True):
    """A first message in place of `Hello`, from who only asks how the host is. `Done` answers, and that is the end.

    It needs no key, so that `doctor` can ask hosts with other settings.
    """

    secret: str


class Generate(Struct, tag="generate", array_like=True, frozen=True):
    """Decode answers behind a prompt; see `GenerationRequest`. With no answers the prompt is evaluated only."""

    request: Count
    document: str
    ids: list[Id]
    n_answers: Count
    is_ahead: bool
    stop_ids: list[Id] = []
    heal: bytes = b""
    max_new_tokens: Count = 0
    beam_margin_nats: Annotated[float, Meta(ge=0)] = 0.0
    temperature: Annotated[float, Meta(ge=0, le=100)] = 0.0
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0


class Drop(Struct, tag="drop", array_like=True, frozen=True):
    """Decode no more of one answer."""

    request: Count
    answer: Count


class Close(Struct, tag="close", array_like=True, frozen=True):
    """Decode no more; the cells of the answer `kept` stay."""

    request: Count
    kept: Count


class Score(Struct, tag="score", array_like=True, frozen=True):
    """Say how likely `targets` are behind a prompt, token by token."""

    request: Count
    ids: list[Id]
    heal: bytes
    targets: list[Id]


class Measure(Struct, tag="measure", array_like=True, frozen=True):
    """Measure speed and memory with so many tokens. For a private host: nobody else gets a turn meanwhile."""

    request: Count
    n_tokens: Count


class Persist(Struct, tag="persist", array_like=True, frozen=True):
    """Write a document's state to disk, if states go there."""

    document: str


class Forget(Struct, tag="forget", array_like=True, frozen=True):
    """Drop all that is kept for this client; answered by `Done`."""

    request: Count


class End(Struct, tag="end", array_like=True, frozen=True):
    """End the host, unless somebody else uses it: its model is to be loaded anew."""


class Cached(Struct, tag="cached", array_like=True, frozen=True):
    """Say what is kept for this client."""

    request: Count


class Status(Struct, tag="status", array_like=True, frozen=True):
    """Say who is here, and how the host is."""

    request: Count


class Welcome(Struct, tag="welcome", array_like=True, frozen=True):
    """The host's first message; the model may still be loading."""

    process_id: int


class Refused(Struct, tag="refused", array_like=True, frozen=True):
    """The host wants nothing of this client. The connection ends."""

    reason: str


class Loading(Struct, tag="loading", array_like=True, frozen=True):
    """The share of the model that is loaded, 0 to 1."""

    share: float


class Ready(Struct, tag="ready", array_like=True, frozen=True):
    """The model can be asked. `caution` is the rung of the ladder that it runs on."""

    n_gpu_layers: int
    prefill_speed: float
    caution: int


class Failed(Struct, tag="failed", array_like=True, frozen=True):
    """The model cannot be loaded, and why. The connection ends."""

    message: str


class Tokens(Struct, tag="tokens", array_like=True, frozen=True):
    """The tokens of one step: answer, id, log-probability in nats, and why the answer ends there if it does."""

    request: int
    tokens: list[tuple[int, int, float, StopReason | None]]
    n_reused: int
    n_evaluated: int
    evaluation_ms: float


class Ended(Struct, tag="ended", array_like=True, frozen=True):
    """A `Generate` is done with. `error` is empty, or one line."""

    request: int
    n_reused: int
    n_evaluated: int
    evaluation_ms: float
    is_complete: bool
    prefill_speed: float
    error: str


class Done(Struct, tag="done", array_like=True, frozen=True):
    """The answer to every other request: plain values, or an error in one line."""

    request: int
    value: msgspec.Raw
    error: str = ""


ToHost = Hello | Inquiry | Generate | Drop | Close | Score | Measure | Persist | Forget | End | Cached | Status
ToClient = Welcome | Refused | Loading | Ready | Failed | Tokens | Ended | Done

_encoder = msgspec.msgpack.Encoder()
_of_client = msgspec.msgpack.Decoder(ToHost)
_of_host = msgspec.msgpack.Decoder(ToClient)


class WireError(Exception):
    """What came is no message."""


def framed(message: Struct) -> bytes:
    """The bytes of a message on the stream."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def raw(value: object) -> msgspec.Raw:
    """A plain value, packed for `Done`."""
    return msgspec.Raw(_encoder.encode(value))


def value_of(done: Done) -> object:
    """What `raw` packed."""
    return msgspec.msgpack.decode(done.value)


async def _read(reader: asyncio.StreamReader) -> bytes | None:
    """The next message's body; `None` at the end of the stream. Raises `WireError` for one that is too long."""
    try:
        (n_bytes,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if n_bytes > MAX_BYTES:
            message = f"a message of {n_bytes} bytes"
            raise WireError(message)
        return await reader.readexactly(n_bytes)
    except (asyncio.IncompleteReadError, OSError):
        return None


async def read_from_client(reader: asyncio.StreamReader) -> ToHost | None:
    """What a client says next; `None` if it left. Raises `WireError`."""
    body = await _read(reader)
    try:
        return None if body is None else _of_client.decode(body)
    except msgspec.DecodeError as error:
        raise WireError(str(error)) from error


async def read_from_host(reader: asyncio.StreamReader) -> ToClient | None:
    """What the host says next; `None` if it is gone. Raises `WireError`."""
    body = await _read(reader)
    try:
        return None if body is None else _of_host.decode(body)
    except msgspec.DecodeError as error:
        raise WireError(str(error)) from error
