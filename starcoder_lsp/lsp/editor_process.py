"""Watch the editor's process: the server ends with it, even if another process holds their pipe open.

Linux reports the end through a process descriptor. Elsewhere, or where that is forbidden, the process is looked up once
a second. On Windows nothing is watched; there the server ends with its standard input.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

POLL_INTERVAL_S = 1.0


def watch(process_id: int | None, on_end: Callable[[], None]) -> None:
    """Call `on_end` on the event loop when the process ends, at once if it has. Without an id nothing is watched.

    The system may reuse the id later, so watch from the first message on.
    """
    if process_id is None or process_id <= 0 or sys.platform == "win32":
        return
    try:
        pidfd = os.pidfd_open(process_id)
    except (ProcessLookupError, OverflowError):
        on_end()
    except (AttributeError, OSError):  # not on this system, forbidden, or no descriptor is free
        _poll(process_id, on_end)
    else:
        asyncio.get_running_loop().add_reader(pidfd, _end, pidfd, on_end)


def _end(pidfd: int, on_end: Callable[[], None]) -> None:
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    on_end()


def _poll(process_id: int, on_end: Callable[[], None]) -> None:
    """Look the process up now and once a second."""
    try:
        os.kill(process_id, 0)  # signal 0 only checks
    except PermissionError:
        pass  # it exists, and belongs to another user
    except (OSError, OverflowError):
        on_end()
        return
    asyncio.get_running_loop().call_later(POLL_INTERVAL_S, _poll, process_id, on_end)
