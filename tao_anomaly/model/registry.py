"""Named builders that a user can add to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Things by name: ``@POOLINGS.register("mine")`` adds one, ``POOLINGS["mine"]`` finds it."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds its object as `name`; ValueError where the name is taken."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self._kind} {name!r} is taken: choose another name")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        """Return the entry; ValueError naming those that exist."""
        if name not in self._entries:
            known = ", ".join(sorted(self._entries))
            raise ValueError(
                f"{self._kind}: got {name!r}, expected one of {known}; a name of your own needs its"
                " module imported first (setting `plugins`)"
            )
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)
