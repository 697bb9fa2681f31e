"""Checkpoints of a run: whole or absent, the newest only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from training.settings import flat

_SETTINGS = "settings.json"


class ResumeError(ValueError):
    """A run that cannot go on from its checkpoint."""


def save_checkpoint(
    accelerator: Accelerator, folder: Path, *, epoch: int, settings: dict[str, Any]
) -> None:
    """Write the state after `epoch` epochs beside the last one, then drop that."""
    part, whole = folder / f".epoch-{epoch:05d}", folder / f"epoch-{epoch:05d}"
    if accelerator.is_main_process:
        shutil.rmtree(part, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(part))
    if accelerator.is_main_process:
        (part / _SETTINGS).write_text(json.dumps(settings, sort_keys=True, indent=1))
        part.rename(whole)
        for old in folder.glob("epoch-*"):
            if old != whole:
                shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load_checkpoint(accelerator: Accelerator, folder: Path, *, settings: dict[str, Any]) -> int:
    """Load the newest checkpoint and return the epochs it has behind it, 0 where there is none.

    Raises ResumeError naming a setting that is not the one the checkpoint was made with.
    """
    found = sorted(folder.glob("epoch-*"))
    if not found:
        return 0
    before = flat(json.loads((found[-1] / _SETTINGS).read_text()))
    settings = flat(json.loads(json.dumps(settings)))  # as it was stored: lists, no tuples
    for key in sorted(set(before) | set(settings)):
        if before.get(key) != settings.get(key):
            raise ResumeError(
                f"{found[-1]}: was made with {key} = {before.get(key)}, now it is"
                f" {settings.get(key)}; choose another output or remove the checkpoint"
            )
    accelerator.load_state(str(found[-1]))
    return int(found[-1].name.rpartition("-")[2])
