"""The option `--tcp` on machines and networks that other people use, too."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from .conftest import TIMEOUT_S, Start, Wire, framed, initialize_params
from .test_cli import assert_refused, run


def address_of(server: Wire) -> tuple[str, int]:
    host, port = server.error_lines.get(timeout=TIMEOUT_S).split()[-1].rsplit(":", 1)
    return host, int(port)


def test_listening_for_other_machines_must_be_allowed() -> None:
    for host in ("0.0.0.0", "[::]"):  # noqa: S104  that is what is refused
        assert_refused(run("--tcp", f"{host}:0"), "--allow-remote")


def test_a_connection_without_the_token_is_closed_and_the_next_is_served(wire: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open sesame\n")
    server = wire("--tcp", "127.0.0.1:0", "--token-file", str(tmp_path / "token"))
    address = address_of(server)
    with socket.create_connection(address, TIMEOUT_S) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert browser.recv(100).startswith(b"HTTP/1.1 400")
        assert browser.recv(100) == b""
    with socket.create_connection(address, TIMEOUT_S):
        pass  # it disconnects at once
    for token in ("", "wrong"):
        with socket.create_connection(address, TIMEOUT_S) as other:
            server.over(other.makefile("rb"), other.makefile("wb"))
            refused = server.call(1, "initialize", initialize_params({"token": token}))
            assert "--token-file" in refused["error"]["message"]
            server.rest()  # until the server closes this connection
    with socket.create_connection(address, TIMEOUT_S) as connection:
        server.over(connection.makefile("rb"), connection.makefile("wb"))
        assert "capabilities" in server.start({"token": "open sesame"})["result"]
        server.model_is_loaded()
        assert not [m for m in server.came if m.get("method") == "window/showMessage"], "the token is no setting"
        server.raw(b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} " + framed(b"[]"))
        errors = [server.until(lambda m: m.get("id", 0) is None)["error"]["message"] for _ in range(2)]
        assert "two content lengths" in " ".join(errors)  # the front and the session reply in any order
        assert server.call("after", "starcoder/metrics")["result"]


@pytest.mark.parametrize("content", [None, ""])
def test_a_token_file_must_have_a_token(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    assert_refused(run("--tcp", "127.0.0.1:0", "--token-file", str(tmp_path / "token")), "--token-file")
