"""Named builders that a user can add to."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

PLUGINS_VARIABLE = "TAO_ANOMALY_PLUGINS"
"""Environment variable with the modules, separated by spaces, that a scorer imports first."""


def import_plugins(names: Iterable[str]) -> None:
    """Import a user's modules, which register what is theirs; also from the working directory.

    Raises ValueError naming the module that cannot be imported.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(f"plugins: got {name!r}, which cannot be imported: {error}") from error


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
                f"{self._kind}: got {name!r}, expected one of {known}; for your own, name its"
                f" module in a training's setting `plugins`, in ${PLUGINS_VARIABLE} for a scorer"
            )
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)
