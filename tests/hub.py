"""A fake hub: the parts of the Hugging Face hub's protocol that downloads use, with faults on demand.

Two servers on loopback ports, as in reality: the hub describes a file and redirects to a second host that has
the bytes. A test puts `Fault`s into `faults`; each request for bytes takes the next one.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import define, field, frozen

COMMIT = "a" * 40
PATIENCE_S = 60.0
PIECE_BYTES = 1 << 16


@frozen
class Fault:
    """A fault in the reply to one request for bytes.

    `cut_at` ends the connection before that byte of the file, `hold_at` keeps it open there until the test releases it,
    `corrupt_at` changes a byte, `status` answers with an error, `ignores_range` sends the whole file.
    """

    cut_at: int | None = None
    hold_at: int | None = None
    corrupt_at: int | None = None
    status: int = 0
    retry_after: str = ""
    ignores_range: bool = False
    is_compressed: bool = False
    n_extra_bytes: int = 0


@frozen
class Seen:
    """A request to the hub (`"hub"`) or to the host of the bytes (`"bytes"`)."""

    host: str
    method: str
    path: str
    headers: Mapping[str, str]


@define(eq=False)
class FakeHub:
    """The state of a fake hub. `files` are bytes, or a number of zeros, by repository and name."""

    files: dict[tuple[str, str], bytes | int] = field(factory=dict)
    licences: dict[str, str] = field(factory=dict)
    gated: set[str] = field(factory=set)
    moved: dict[str, str] = field(factory=dict)
    """Old names of repositories, which are redirected to the new ones."""
    revisions: set[str] = field(factory=lambda: {"main", COMMIT})
    states_sha256: bool = True
    stated_size: int | None = None
    stated_sha256: str = ""
    faults: deque[Fault] = field(factory=deque)
    hub_faults: deque[Fault] = field(factory=deque)
    seen: list[Seen] = field(factory=list)
    is_holding: threading.Event = field(factory=threading.Event)
    lets_go: threading.Event = field(factory=threading.Event)
    endpoint: str = ""
    bytes_host: str = ""

    def requests(self, host: str, method: str = "") -> list[Seen]:
        return [each for each in self.seen if each.host == host and method in {"", each.method}]

    def ranges(self) -> list[str]:
        """Return the `Range` header of each request for bytes."""
        return [each.headers.get("range", "") for each in self.requests("bytes", "GET")]

    def sha256(self, repository: str, name: str) -> str:
        content = self.files[repository, name]
        return sha256(content if isinstance(content, bytes) else bytes(content)).hexdigest()

    def size(self, repository: str, name: str) -> int:
        content = self.files[repository, name]
        return len(content) if isinstance(content, bytes) else content


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub
    host: str

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing."""

    def _note(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.seen.append(Seen(self.host, self.command, self.path, headers))

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()


class _HubHandler(_Handler):
    host = "hub"

    def do_GET(self) -> None:
        self._note()
        fault = self.hub.hub_faults.popleft() if self.hub.hub_faults else Fault()
        if fault.status:
            self._reply(fault.status, {"Retry-After": fault.retry_after} if fault.retry_after else {})
        elif self.path.startswith("/api/models/"):
            self._list()
        else:
            self._resolve()

    def _list(self) -> None:
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^?]+)", self.path)
        assert match, self.path
        repository, revision = match[1], unquote(match[2])
        names = [name for owner, name in self.hub.files if owner == repository]
        if not self._may_see(repository, revision, names):
            return
        card = {"license": self.hub.licences[repository]} if repository in self.hub.licences else {}
        siblings = [{"rfilename": name} for name in (*names, "README.md")]
        answer = {"id": repository, "sha": COMMIT, "siblings": siblings, "cardData": card}
        self._reply(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _resolve(self) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", urlsplit(self.path).path)
        assert match, self.path
        repository, revision, name = match[1], unquote(match[2]), unquote(match[3])
        if repository in self.hub.moved:
            self._reply(307, {"Location": self.path.replace(repository, self.hub.moved[repository])})
            return
        names = [each for owner, each in self.hub.files if owner == repository]
        if not self._may_see(repository, revision, names):
            return
        if name not in names:
            self._reply(404, {"X-Error-Code": "EntryNotFound"})
            return
        stated = self.hub.stated_sha256 or self.hub.sha256(repository, name)
        etag = stated if self.hub.states_sha256 else sha1(name.encode()).hexdigest()  # noqa: S324  as git has it
        size = self.hub.stated_size or self.hub.size(repository, name)
        location = f"{self.hub.bytes_host}/{repository}/{name}?signature=once"
        headers = {
            "X-Repo-Commit": revision if len(revision) == len(COMMIT) else COMMIT,
            "X-Linked-Size": str(size),
            "X-Linked-Etag": f'"{etag}"',
            "ETag": f'"{sha1(b"pointer").hexdigest()}"',  # noqa: S324  of the pointer file
            "Accept-Ranges": "bytes",
            "Location": location,
        }
        self._reply(302, headers)

    def _may_see(self, repository: str, revision: str, names: list[str]) -> bool:
        authorization = self.headers.get("Authorization")
        if not names:
            self._reply(401, {"X-Error-Code": "RepoNotFound"})
        elif repository in self.hub.gated and authorization != "Bearer good":
            self._reply(403, {"X-Error-Code": "GatedRepo"})
        elif revision not in self.hub.revisions:
            self._reply(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            return True
        return False


class _BytesHandler(_Handler):
    host = "bytes"

    def do_GET(self) -> None:
        self._note()
        split = urlsplit(self.path)
        assert parse_qs(split.query) == {"signature": ["once"]}
        organisation, repository, name = unquote(split.path).lstrip("/").split("/", 2)
        content = self.hub.files[f"{organisation}/{repository}", name]
        fault = self.hub.faults.popleft() if self.hub.faults else Fault()
        if fault.status:
            self._reply(fault.status, {"Retry-After": fault.retry_after} if fault.retry_after else {})
            return
        n_bytes = len(content) if isinstance(content, bytes) else content
        first = self._first_byte(fault)
        if first > n_bytes:
            self._reply(416, {"Content-Range": f"bytes */{n_bytes}"})
            return
        self._send(content, first, n_bytes, fault)

    def _first_byte(self, fault: Fault) -> int:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        return int(match[1]) if match and not fault.ignores_range else 0

    def _send(self, content: bytes | int, first: int, n_bytes: int, fault: Fault) -> None:
        headers = {"Content-Length": str(n_bytes - first + fault.n_extra_bytes)}
        if first:
            headers["Content-Range"] = f"bytes {first}-{n_bytes - 1}/{n_bytes}"
        if fault.is_compressed:
            headers["Content-Encoding"] = "gzip"
        self.send_response(206 if first else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        at, end = first, n_bytes if fault.cut_at is None else fault.cut_at
        with suppress(OSError):  # the client may have disconnected
            while at < end:
                stop = min(
                    end, at + PIECE_BYTES, *(() if fault.hold_at is None or fault.hold_at <= at else (fault.hold_at,))
                )
                if at == fault.hold_at:
                    self._hold()
                piece = bytearray(content[at:stop] if isinstance(content, bytes) else bytes(stop - at))
                if fault.corrupt_at is not None and at <= fault.corrupt_at < stop:
                    piece[fault.corrupt_at - at] ^= 1
                self.wfile.write(piece)
                at = stop
            if at == fault.hold_at:
                self._hold()
            self.wfile.write(bytes(fault.n_extra_bytes))
        if fault.cut_at is not None:
            self.close_connection = True

    def _hold(self) -> None:
        self.wfile.flush()
        self.hub.is_holding.set()
        self.hub.lets_go.wait(PATIENCE_S)


@contextmanager
def serving(hub: FakeHub | None = None, certificate: Path | None = None) -> Iterator[FakeHub]:
    """Serve until the block ends. With a `certificate` (and its key in the same file) over TLS."""
    hub = hub or FakeHub()
    servers = []
    try:
        for base in (_HubHandler, _BytesHandler):
            handler = type(base.__name__, (base,), {"hub": hub})
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            if certificate is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            servers.append(server)
        scheme = "http" if certificate is None else "https"
        hub.endpoint, hub.bytes_host = (f"{scheme}://127.0.0.1:{server.server_port}" for server in servers)
        yield hub
    finally:
        hub.lets_go.set()
        for server in servers:
            server.shutdown()
            server.server_close()
