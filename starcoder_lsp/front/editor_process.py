"""End the front when the editor's process ends, even if another process holds the pipe between them open.

Linux reports the end of a process. Elsewhere, and if that fails, the process is polled once a second. Windows has no
such watch: there the front ends when standard input does.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

POLL_INTERVAL_S: Final = 1.0


def watch_editor(params: Any, on_end: Callable[[], None]) -> None:
    """Watch the process that the parameters of `initialize` name, if they name one."""
    process_id = params.get("processId") if isinstance(params, dict) else None
    if isinstance(process_id, int) and not isinstance(process_id, bool):
        watch(process_id, on_end)


def watch(process_id: int, on_end: Callable[[], None]) -> None:
    """Call `on_end` on a thread of its own when the process ends, at once if it has ended."""
    if process_id > 0 and sys.platform != "win32":
        threading.Thread(target=_wait, args=(process_id, on_end), name="editor", daemon=True).start()


def _wait(process_id: int, on_end: Callable[[], None]) -> None:
    try:
        descriptor = os.pidfd_open(process_id)
    except (ProcessLookupError, OverflowError):
        pass
    except (AttributeError, OSError):  # no such function, not allowed, or no descriptor left
        while _is_alive(process_id):
            time.sleep(POLL_INTERVAL_S)
    else:
        select.select([descriptor], [], [])
        os.close(descriptor)
    on_end()


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)  # sends nothing
    except PermissionError:
        return True  # another user's process
    except (OSError, OverflowError):
        return False
    return True
