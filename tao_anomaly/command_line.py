"""Command lines made of config dataclasses: ``python -m tao_anomaly.X key=value ...``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tao_anomaly.config import validate

C = TypeVar("C")


def run(
    schema: type[C],
    body: Callable[[C], None],
    *,
    description: str | None,
    errors: tuple[type[Exception], ...],
) -> int:
    """Build a `schema` of the command line's ``key=value`` words, run `body`, return the status.

    ``--help`` lists the settings. An exception of `errors` is a message for the user: it is
    printed without a trace, and the status is 1; a wrong word gives status 2.
    """
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(f"{description or ''}\nSettings, as key=value, with their defaults:\n")
        print("\n".join(_help(schema())))
        return 0
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        merged = OmegaConf.merge(_unlocked(schema), OmegaConf.from_cli(words))
        config: Any = OmegaConf.to_object(merged)
        validate(config)
    except (OmegaConfBaseException, ValueError) as error:
        reason = str(error).splitlines()[0]
        print(f"error: {reason}; --help lists the settings", file=sys.stderr)
        return 2
    try:
        body(config)
    except errors as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _unlocked(schema: type[Any]) -> DictConfig:
    """Return the defaults of `schema`; OmegaConf locks those of frozen dataclasses."""
    config = OmegaConf.structured(schema)

    def unlock(node: DictConfig) -> None:
        OmegaConf.set_readonly(node, None)
        for key in node:
            child = node._get_node(key)
            if isinstance(child, DictConfig):
                unlock(child)

    unlock(config)
    return config


def _help(config: Any, prefix: str = "") -> Iterator[str]:
    for entry in fields(config):
        value = getattr(config, entry.name)
        name = prefix + entry.name
        if is_dataclass(value):
            yield from _help(value, f"{name}.")
        else:
            shown = "''" if value == "" else "null" if value is None else value
            yield f"  {name}={shown}  {entry.metadata.get('description', '')}"
