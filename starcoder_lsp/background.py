"""One background thread for parses, windows, tokens and filters, which would block the event loop for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pipeline")


async def in_background(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` on the background thread, in the order of the calls, and return its result.

    Cancelling the await does not stop the work.
    """
    return await asyncio.get_running_loop().run_in_executor(_thread, partial(work, *args, **kwargs))
