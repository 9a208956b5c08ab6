"""A dictionary that drops the item least recently used."""

from __future__ import annotations

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
