"""`starcoder-lsp host`: the process that runs the model. Servers start it; users do not."""

from __future__ import annotations

import os
import sys

import msgspec

from starcoder_lsp.cli import CommandError
from starcoder_lsp.engine.engine import EngineError


def host(name: str, options: str) -> int:
    """Run a host until no server needs it. The process ends without waiting for llama.cpp."""
    from starcoder_lsp.engine.host.options import HostOptions
    from starcoder_lsp.engine.host.server import serve

    try:
        code = serve(HostOptions.from_json(options.encode()), name)
    except msgspec.DecodeError as error:
        message = f"the options of the host are invalid: {error}"
        raise CommandError(message) from error
    except (EngineError, OSError) as error:
        raise CommandError(str(error)) from error
    sys.stderr.flush()
    os._exit(code)
