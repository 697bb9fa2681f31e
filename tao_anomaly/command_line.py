"""Command lines made of config dataclasses: ``python -m tao_anomaly.X key=value ...``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

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
        config = _parse(schema, words)
        validate(config)
    except (OmegaConfBaseException, ValueError) as error:
        key = getattr(error, "full_key", None)
        reason = (f"{key}: " if key else "") + str(error).splitlines()[0]
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


def _parse(schema: type[Any], words: Sequence[str]) -> Any:
    """Return the dataclass that ``key=value`` words make of the defaults.

    Text is taken as it stands; other values are YAML.
    """
    config = unlocked(schema)
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"got {word!r}, expected key=value")
        kind = _kind(schema, key)
        if kind is str or (kind == str | None and text != "null"):
            OmegaConf.update(config, key, text)
            continue
        try:
            config.merge_with_dotlist([word])
        except YAMLError as error:
            raise ValueError(f"{key}: got {text!r}, expected a YAML value") from error
    return OmegaConf.to_object(config)


def _kind(schema: Any, key: str) -> Any:
    """Return the annotation of a setting, None where there is no such setting."""
    for name in key.split("."):
        schema = get_type_hints(schema).get(name) if is_dataclass(schema) else None
    return schema


def unlocked(schema: type[Any]) -> DictConfig:
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
