"""A worker thread with room for one waiting item: the newest wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands items to `handle` in a thread of its own, one at a time, in order.

    While an item is handled one more waits; another that comes then replaces it. `handle` must not
    raise. dropped: items replaced so far.
    """

    def __init__(self, handle: Callable[[T], None]) -> None:
        self.dropped = 0
        self._handle = handle
        self._waiting: list[T] = []  # at most one
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="mailbox", daemon=True)
        self._thread.start()

    def put(self, item: T) -> bool:
        """Leave an item; returns whether another was dropped for it."""
        with self._changed:
            replaced = bool(self._waiting)
            self.dropped += replaced
            self._waiting[:] = [item]
            self._changed.notify()
        return replaced

    def close(self) -> None:
        """Drop what waits and return when the item in work is done."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                item = self._waiting.pop()
            self._handle(item)
