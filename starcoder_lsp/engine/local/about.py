"""Print the installed llama.cpp's own information as JSON.

`python -m starcoder_lsp.engine.local.about` is a separate program, because loading a library that was built for another
processor may end the process.
"""

from __future__ import annotations

import json

if __name__ == "__main__":
    from starcoder_lsp.engine.local.llama import start_backend
    from starcoder_lsp.engine.local.low_level import llama_cpp

    start_backend()
    about = {
        "systemInfo": bytes(llama_cpp.llama_print_system_info()).decode(),  # `AVX2 = 1 | AMX_INT8 = 1 | …`
        "canOffload": bool(llama_cpp.llama_supports_gpu_offload()),
    }
    print(json.dumps(about))
