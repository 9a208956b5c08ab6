"""Tells what the installed llama.cpp says of itself, as JSON on standard output.

`python -m starcoder_lsp.engine.local.about` is a program of its own, because loading a library that was built for
another processor may end the process.
"""

from __future__ import annotations

import json

if __name__ == "__main__":
    from starcoder_lsp.engine.local.llama import can_offload, system_info

    print(json.dumps({"systemInfo": system_info(), "canOffload": can_offload()}))
