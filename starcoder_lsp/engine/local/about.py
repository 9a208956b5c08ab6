"""Print the installed llama.cpp's own information as JSON.

`python -m starcoder_lsp.engine.local.about` is a separate program, because loading a library that was built for another
processor may end the process.
"""

from __future__ import annotations

import json

if __name__ == "__main__":
    from starcoder_lsp.engine.local.llama import can_offload, system_info

    print(json.dumps({"systemInfo": system_info(), "canOffload": can_offload()}))
