"""The editor's process: its end is the server's, also where somebody else holds the pipe between them open.

Linux tells of the end. Elsewhere, and where Linux is forbidden to, the process is looked for once a second. On Windows
nothing is watched: there the end of standard input has to do.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

POLL_INTERVAL_S = 1.0


def watch(process_id: int | None, on_end: Callable[[], None]) -> None:
    """Call `on_end` on the event loop when the process ends, at once if it has. Without an id nothing is watched.

    The id may be given to another process later, so a process is watched from the first message on.
    """
    if process_id is None or process_id <= 0 or sys.platform == "win32":
        return
    try:
        pidfd = os.pidfd_open(process_id)
    except (ProcessLookupError, OverflowError):
        on_end()
    except (AttributeError, OSError):  # no such function, none allowed, or no descriptor left
        _poll(process_id, on_end)
    else:
        asyncio.get_running_loop().add_reader(pidfd, _end, pidfd, on_end)


def _end(pidfd: int, on_end: Callable[[], None]) -> None:
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    on_end()


def _poll(process_id: int, on_end: Callable[[], None]) -> None:
    """Look for the process now and once a second from now on."""
    try:
        os.kill(process_id, 0)  # sends nothing
    except PermissionError:
        pass  # somebody else's process is one
    except (OSError, OverflowError):
        on_end()
        return
    asyncio.get_running_loop().call_later(POLL_INTERVAL_S, _poll, process_id, on_end)
