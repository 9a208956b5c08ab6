"""One thread for what takes longer than an edit: parses, windows, tokens, filters. The event loop only waits for it."""

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
    """Do something on the thread, in the order of the calls. A cancelled await does not stop what runs there."""
    return await asyncio.get_running_loop().run_in_executor(_thread, partial(work, *args, **kwargs))
