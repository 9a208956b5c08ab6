"""`vscode_slow.py FILE ARGUMENTS...` runs a session without a front. While the file exists, its model is silent."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from starcoder_lsp import completion
from starcoder_lsp.engine.engine import Cancellation, Generation
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.lsp.run import run_session
from starcoder_lsp.rewrites import rewrite

POLL_S = 0.01
FILE = Path(sys.argv.pop(1))


async def write_slowly(*args: Any, **kwargs: Any) -> Generation:
    (cancellation,) = (each for each in args if isinstance(each, Cancellation))
    while FILE.exists() and not cancellation.is_cancelled:  # noqa: ASYNC110, ASYNC240  a test removes it
        await asyncio.sleep(POLL_S)
    return await generate(*args, **kwargs)


if __name__ == "__main__":
    completion.generate = rewrite.generate = write_slowly
    raise SystemExit(run_session())
