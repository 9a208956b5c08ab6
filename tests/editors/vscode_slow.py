"""`vscode_slow.py FILE ARGUMENTS...` is the real server; while the file exists its model is slow: it writes nothing."""

import sys
import time
from pathlib import Path
from typing import Any

from starcoder_lsp.cli import main
from starcoder_lsp.engine.llama import LlamaEngine

POLL_S = 0.01
FILE = Path(sys.argv.pop(1))
generate = LlamaEngine.generate


def write_slowly(engine: LlamaEngine, request: Any, stop: Any, cancelled: Any) -> Any:
    while FILE.exists() and not cancelled():
        time.sleep(POLL_S)
    return generate(engine, request, stop, cancelled)


if __name__ == "__main__":
    LlamaEngine.generate = write_slowly  # type: ignore[method-assign]
    raise SystemExit(main())
