"""Proxies, private certificate authorities, and the memory of a download."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import evolve

from starcoder_lsp.models.environment import Environment
from starcoder_lsp.models.errors import ModelsError
from starcoder_lsp.models.pull import Puller, Wanted
from starcoder_lsp.models.store import Store
from tests.hub import FakeHub, serving
from tests.models.conftest import FILE, QUICK, REPOSITORY, SPELLED

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


def pull_all(puller: Puller) -> bytes:
    async def both() -> bytes:
        return (await puller.pull(await puller.plan(Wanted.of(SPELLED)))).path.read_bytes()

    return asyncio.run(both())


@contextmanager
def proxy(requested: list[str]) -> Iterator[str]:
    """A proxy for requests by CONNECT and by whole address, which records the requested hosts."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        line = head.split(b"\r\n")[0].decode()
        requested.append(line)
        match = re.match(r"\w+ (?:http://)?127\.0\.0\.1:(\d+)", line)
        assert match, line
        server = socket.create_connection(("127.0.0.1", int(match[1])))
        if line.startswith("CONNECT"):
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            server.sendall(head.replace(f"http://127.0.0.1:{match[1]}".encode(), b"", 1))
        threading.Thread(target=pump, args=(client, server), daemon=True).start()
        pump(server, client)

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_proxy_of_the_environment_is_used(puller: Puller, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []
    with proxy(requested) as address:
        monkeypatch.setenv("HTTP_PROXY", address)
        monkeypatch.setenv("http_proxy", address)
        assert pull_all(puller) == content
    assert len(requested) >= 2
    monkeypatch.setenv("http_proxy", "nonsense://")
    with pytest.raises(ModelsError, match="PROXY"):
        pull_all(evolve(puller, store=Store(puller.store.folder / "other")))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for the loopback address, not signed by an authority of the system, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here to make a certificate")
    path = tmp_path / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=own"]
    extension = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*command, *extension], check=True, capture_output=True)  # noqa: S603
    path.write_bytes(path.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return path


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_private_authority_is_trusted_if_a_variable_names_it(
    certificate: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with serving(FakeHub({(REPOSITORY, FILE): content}), certificate) as hub:
        puller = Puller(Store(tmp_path / "s"), Environment(hub.endpoint, "", is_offline=False), patience=QUICK)
        with pytest.raises(ModelsError, match=r"(?i)certificate"):
            pull_all(puller)
        monkeypatch.setenv(variable, str(tmp_path / "missing.pem"))
        with pytest.raises(ModelsError, match="SSL_CERT_FILE"):
            pull_all(puller)
        monkeypatch.setenv(variable, str(tmp_path / "cert.pem"))
        assert pull_all(puller) == content


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_download_holds_at_most_4_kib_for_each_mib(hub: FakeHub, tmp_path: Path) -> None:
    """The growth of the process from a small download, which also imports everything, to a large one."""
    n_mib = 256
    hub.files["large/one", "x.gguf"] = n_mib * MIB
    hub.stated_size = None
    script = """
import asyncio, sys
from pathlib import Path
from starcoder_lsp.models.pull import Puller, Wanted
from starcoder_lsp.models.store import Store
def peak():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
async def pull(spelled):
    puller = Puller(Store(Path(sys.argv[1])))
    model = await puller.pull(await puller.plan(Wanted.of(spelled)))
    model.path.unlink()
asyncio.run(pull(sys.argv[2]))
before = peak()
asyncio.run(pull("large/one:x.gguf"))
print(peak() - before)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "store"), SPELLED]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) <= 4 * n_mib
    print(f"{int(ran.stdout)} KiB more for {n_mib} MiB")
