"""HTTP/1.1 to a remote engine, the only importer of `httpx2`: pooled connections, streamed answers, plain errors.

An answer is left by closing its connection. Over HTTP/2 httpx2 2.16 sends no reset for a stream that is left, so the
engine would write each superseded answer to its end. Nor does it return the bytes of such answers to the connection's
flow-control window (16 MiB), and once that is used up, nothing comes any more.

`HTTPS_PROXY`, `NO_PROXY` and `SSL_CERT_FILE` with its kin count as they do for downloads, but for a server on this
machine no proxy is asked. Redirects are not followed: they would take source text to a host that the user did not name.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any, Final

from attrs import define

from starcoder_lsp import __version__
from starcoder_lsp.authorities import verification
from starcoder_lsp.background import in_background
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.remote.endpoint import NO_ADDRESS, Endpoint
from starcoder_lsp.engine.remote.errors import BadAnswerError, EngineAwayError, RequestRefusedError
from starcoder_lsp.printable import printable

if TYPE_CHECKING:
    import httpx2

MAX_CONNECT_S: Final = 5.0
"""A server that takes longer to accept a connection is away. Not measured."""
KEEPALIVE_S: Final = 90.0
"""The lifetime of an idle connection: a new one costs a TLS handshake, two trips to the server. Not measured."""
MAX_ANSWER_BYTES: Final = 8 << 20
"""The most bytes of an answer that is not streamed; the largest is a list of models."""
MAX_REASON_CHARACTERS: Final = 200
MIN_SOURCE_CHARACTERS: Final = 16
"""The characters in a row by which a message is recognized to repeat the prompt. Not measured."""
BUSY: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.REQUEST_TIMEOUT}
KEY_REFUSED: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
NOT_THERE: Final = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}


REST_S: Final = 0.5
"""The time that a server has to end a body behind the last part of an answer; the end follows at once. Not measured."""


@define(eq=False)
class Http:
    """The connections to one engine. On the event loop."""

    endpoint: Endpoint
    _client: httpx2.AsyncClient | None = None

    async def get(self, path: str) -> Any:
        """Return what a GET answers, as JSON. Raises `EngineError`."""
        async with self._send("GET", path, None, {}) as response:
            return await self._json(response)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return what a POST answers, as JSON. Raises `EngineError`."""
        async with self._send("POST", path, body, {}) as response:
            return await self._json(response)

    @asynccontextmanager
    async def stream(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[Mapping[str, str], AsyncIterator[bytes]]]:
        """Yield an answer's headers and its bytes as they come. Leaving the block ends the request at the engine.

        The block and the iterator raise `EngineError`.
        """
        async with self._send("POST", path, body, headers) as response:
            yield response.headers, response.aiter_bytes()

    @asynccontextmanager
    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        client = await self._connected()
        import httpx2

        content = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        try:
            request = client.build_request(method, self.endpoint.url + path, content=content, headers=dict(headers))
        except httpx2.InvalidURL as error:
            raise EngineError(NO_ADDRESS) from error
        request.headers.update(self.endpoint.headers)  # the user's own count, whatever else would have their names
        try:
            try:
                response = await client.send(request, stream=True)
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):  # it may have been kept too long
                response = await client.send(request, stream=True)
            try:
                if response.status_code != HTTPStatus.OK:
                    raise await self._refusal(response, path, body or {})
                yield response
            finally:
                await response.aclose()
        except httpx2.TimeoutException as error:
            what = f"{self.endpoint.host} did not answer within {_seconds(error, self.endpoint)} s"
            raise EngineAwayError(what) from error
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            why = self._quoted(str(error).strip(), {}) or type(error).__name__
            message = f"{self.endpoint.host} cannot be reached ({why})"
            raise EngineAwayError(message) from error

    async def _connected(self) -> httpx2.AsyncClient:
        """Return the client. To import it and to read the system's certificates takes 0.2 s, the first time."""
        if self._client is None:
            client = await in_background(_client_for, self.endpoint)
            if self._client is None:
                self._client = client
        return self._client

    def _quoted(self, text: str, sent: Mapping[str, Any]) -> str:
        """Return the beginning of a text for a message, without the key and without the prompt of what was sent."""
        text = _before_prompt(text.replace(self.endpoint.key or "\0", "…"), sent)
        return printable(text[:MAX_REASON_CHARACTERS])

    async def _json(self, response: httpx2.Response) -> Any:
        try:
            return json.loads(await _body(response))
        except (ValueError, RecursionError) as error:
            message = f"{self.endpoint.host} answered with something that is no JSON"
            raise BadAnswerError(message) from error

    async def _refusal(self, response: httpx2.Response, path: str, sent: Mapping[str, Any]) -> EngineError:
        """Return the error for an answer that is not 200."""
        status, host = response.status_code, self.endpoint.host
        if status in KEY_REFUSED:
            what = "refuses the key" if self.endpoint.key else "wants a key"
            advice = "name the environment variable that holds it in engine.apiKeyEnv"
            return EngineAwayError(f"{host} {what} ({status}): {advice}")
        if response.is_redirect:
            return EngineAwayError(f"{host} sends elsewhere ({status}), which is not followed: correct engine.url")
        if status in BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            what = "is too busy" if status == HTTPStatus.TOO_MANY_REQUESTS else "has an error of its own"
            return EngineAwayError(f"{host} {what} ({status})", retry_after_s(response.headers.get("retry-after", "")))
        reason = self._quoted(_reason(await _body(response)), sent)
        advice = "; check engine.url, engine.kind and engine.model" if status in NOT_THERE else ""
        return RequestRefusedError(f"{host} refuses {path} ({status}){reason and ': '}{reason}{advice}", status)

    async def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


async def read_rest(chunks: AsyncIterator[bytes]) -> None:
    """Read a body to its end, of which nothing matters any more.

    HTTP/1.1 must close a connection whose answer was left before its end, and the next request needs another one: two
    or three trips to the server. One that breaks, or says more for too long, is closed without an error.
    """
    import httpx2

    with suppress(httpx2.HTTPError, httpx2.StreamError, TimeoutError):
        async with asyncio.timeout(REST_S):
            async for _chunk in chunks:
                pass


def _client_for(endpoint: Endpoint) -> httpx2.AsyncClient:
    import httpx2

    headers = {"Content-Type": "application/json", "User-Agent": f"starcoder-lsp/{__version__}"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    try:
        return httpx2.AsyncClient(
            headers=headers,
            trust_env=True,
            verify=verification(httpx2.create_ssl_context),
            mounts={f"all://{endpoint.hostname}": None} if endpoint.is_on_this_machine else None,  # past any proxy
            follow_redirects=False,
            timeout=httpx2.Timeout(endpoint.timeout_s, connect=min(endpoint.timeout_s, MAX_CONNECT_S)),
            limits=httpx2.Limits(keepalive_expiry=KEEPALIVE_S),
        )
    except (OSError, ValueError, ImportError) as error:  # SSL_CERT_FILE or a proxy's address is wrong
        named = str(error) if isinstance(error, OSError) else ""  # a proxy's address may hold a password
        why = getattr(error, "strerror", None) or named or type(error).__name__
        message = f"connections cannot be set up ({why}): check SSL_CERT_FILE, HTTPS_PROXY and similar variables"
        raise EngineError(message) from error


def retry_after_s(value: str) -> float:
    """Return the seconds that a `Retry-After` header asks for, a number or a date; 0 for anything else."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time()
        except (ValueError, OverflowError):
            return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


async def _body(response: httpx2.Response) -> bytes:
    """Return the body, or its beginning if it is larger than any answer."""
    data = b""
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            break
    return data


def _reason(body: bytes) -> str:
    """Return the message of an error's body. Only a message field is quoted: the rest may repeat source text."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for key in ("error", "message", "detail"):
        value = value.get(key, value) if isinstance(value, dict) else value
    return value if isinstance(value, str) else ""


def _before_prompt(reason: str, sent: Mapping[str, Any]) -> str:
    """Return a message up to the place where it repeats the prompt of the request, as pydantic's messages do."""
    prompts = [sent[name] for name in ("prompt", "inputs") if name in sent]
    source = " ".join(f"{prompt} {prompt!r}" for prompt in prompts)
    for at in range(min(len(reason), MAX_REASON_CHARACTERS)):
        part = reason[at : at + MIN_SOURCE_CHARACTERS]
        if len(part) == MIN_SOURCE_CHARACTERS and part in source:
            return f"{reason[:at]}…"
    return reason


def _seconds(error: Exception, endpoint: Endpoint) -> str:
    is_connect = type(error).__name__ == "ConnectTimeout"
    return f"{min(endpoint.timeout_s, MAX_CONNECT_S) if is_connect else endpoint.timeout_s:g}"
