"""A dictionary, and a function's cache, that drop the item least recently used."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruDict(dict[K, V]):
    """A dictionary of at most `max_items`, least recently used first. Only `[]=` and `use` count as use.

    Not safe to share between threads. `functools.lru_cache` does not fit where a value goes stale.
    """

    def __init__(self, max_items: int) -> None:
        super().__init__()
        self.max_items = max_items

    def __setitem__(self, key: K, value: V) -> None:
        self.pop(key, None)
        super().__setitem__(key, value)
        if len(self) > self.max_items:
            del self[next(iter(self))]

    def use(self, key: K) -> V | None:
        """Return the value of `key` and count that as its use; `None` if it is missing."""
        if key not in self:
            return None
        self[key] = value = self[key]
        return value


def cached_by_text(max_bytes: int) -> Callable[[Callable[[bytes], V]], Callable[[bytes], V]]:
    """Cache a function of a text for the texts used last, `max_bytes` together, and at least for one.

    `functools.lru_cache` would keep so many texts, however large. Safe to share between threads.
    """

    def with_cache(function: Callable[[bytes], V]) -> Callable[[bytes], V]:
        known: dict[bytes, V] = {}
        n_bytes = 0
        changing = threading.Lock()

        @wraps(function)
        def cached(text: bytes) -> V:
            nonlocal n_bytes
            with changing:
                if text in known:
                    known[text] = known.pop(text)
                    return known[text]
            value = function(text)
            with changing:
                n_bytes += 0 if text in known else len(text)
                known[text] = value
                while n_bytes > max_bytes and len(known) > 1:
                    oldest = next(iter(known))
                    del known[oldest]
                    n_bytes -= len(oldest)
            return value

        return cached

    return with_cache
