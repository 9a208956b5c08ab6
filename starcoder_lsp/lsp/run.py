"""The session's process: the language server on standard input and output, behind the front."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Final

from starcoder_lsp import black_box

_PR_SET_PDEATHSIG: Final = 1


def run_session() -> int:
    """Serve the front until it leaves."""
    from starcoder_lsp.front.ends import standard_streams
    from starcoder_lsp.front.framing import first_body, framed
    from starcoder_lsp.lsp.greeting import reply_to
    from starcoder_lsp.lsp.startup import make_server_quickly

    descriptor = os.environ.pop(black_box.ENVIRONMENT, "")
    if descriptor:
        black_box.share(int(descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes, and the front ends this one
    end_with_parent()
    receive, writer = standard_streams()
    body, receive = first_body(receive)
    greeting = reply_to(body)
    if greeting is not None:
        with suppress(OSError):  # the front has left, and the input ends
            writer.write(framed(json.dumps(greeting).encode()))
            writer.flush()
    begin_early(body)
    server = make_server_quickly()
    if greeting is not None:
        server.protocol.note_greeting(greeting["id"])
    server.serve(receive, writer)
    return 1


def begin_early(body: bytes) -> None:
    """Start the host that the same client had at its last start; see `engine/host/early.py`."""
    from starcoder_lsp.engine.host.early import EARLY
    from starcoder_lsp.front.framing import parsed
    from starcoder_lsp.lsp.forgiving import is_too_deep
    from starcoder_lsp.settings_layers import user_file

    message = parsed(body)
    params = message.get("params") if isinstance(message, dict) and message.get("method") == "initialize" else None
    if isinstance(params, dict) and not is_too_deep(params):
        EARLY.begin([params.get("clientInfo"), params.get("initializationOptions")], user_file())


def end_with_parent() -> None:
    """Let Linux end this process with the front, even in the middle of C code that never returns."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run_session())
