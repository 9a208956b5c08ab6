"""`starcoder-lsp host`: the process that the model runs in. Started by servers, not by hand."""

from __future__ import annotations

import os
import sys

import msgspec

from starcoder_lsp.cli import CommandError
from starcoder_lsp.engine.engine import EngineError


def host(name: str, options: str) -> int:
    """Run a host until it is not needed any more. The process ends without waiting for llama.cpp."""
    from starcoder_lsp.engine.host.options import HostOptions
    from starcoder_lsp.engine.host.server import serve

    try:
        code = serve(HostOptions.from_json(options.encode()), name)
    except msgspec.DecodeError as error:
        message = f"these are no options of a host: {error}"
        raise CommandError(message) from error
    except (EngineError, OSError) as error:
        raise CommandError(str(error)) from error
    sys.stderr.flush()
    os._exit(code)
