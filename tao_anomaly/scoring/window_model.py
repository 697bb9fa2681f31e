"""What turns windows into raw anomaly terms, and how a kind of model is found."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tao_anomaly.structures import BoolArray, FloatArray, TrackWindows

if TYPE_CHECKING:
    from tao_anomaly.model.artifact import Artifact


class WindowModel(Protocol):
    """A fitted model of normal windows: stateless and deterministic.

    term_names: what its K terms are called; higher means less normal. One called `speed` is the
    speed in person heights a second. network_terms: those of them that a network must run for,
    which costs.
    """

    @property
    def term_names(self) -> tuple[str, ...]: ...  # noqa: D102 (documented above)

    @property
    def network_terms(self) -> tuple[str, ...]: ...  # noqa: D102 (documented above)

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        """Return the raw terms ``(M, K)`` of the windows, NaN where one cannot be scored.

        network ``(M,)``: True where a network is to run, everywhere if None; its terms are NaN
        elsewhere.
        """
        ...

    def speeds(self, windows: TrackWindows) -> FloatArray:
        """Return the speed ``(M,)`` in person heights a second, NaN where it is not known.

        It explains scores and is no part of them.
        """
        ...


class JoinedModel:
    """Several models of the same windows as one: their terms side by side."""

    def __init__(self, *members: WindowModel) -> None:
        self.members = members

    @property
    def term_names(self) -> tuple[str, ...]:
        """Terms of all members, in their order."""
        return tuple(name for member in self.members for name in member.term_names)

    @property
    def network_terms(self) -> tuple[str, ...]:
        """Network terms of all members."""
        return tuple(name for member in self.members for name in member.network_terms)

    def terms(self, windows: TrackWindows, network: BoolArray | None = None) -> FloatArray:
        """Return the raw terms ``(M, K)`` of all members."""
        return np.concatenate([member.terms(windows, network) for member in self.members], axis=1)

    def speeds(self, windows: TrackWindows) -> FloatArray:
        """Return the speed ``(M,)`` as the first member knows it."""
        return self.members[0].speeds(windows)


# kind of artifact -> module:function that builds its model; imported when first needed
WINDOW_MODELS = {
    "cues": "tao_anomaly.scoring.cues_artifact:build",
    "temporal_mae": "tao_anomaly.model.window_model:build",
}


def build_window_model(artifact: Artifact) -> WindowModel:
    """Return the model an artifact holds; raises ValueError for an unknown kind."""
    if artifact.kind not in WINDOW_MODELS:
        known = ", ".join(WINDOW_MODELS)
        raise ValueError(
            f"{artifact.folder}: got a model of kind {artifact.kind!r}, expected one of {known}"
        )
    module, _, function = WINDOW_MODELS[artifact.kind].partition(":")
    build: Callable[[Artifact], WindowModel] = getattr(importlib.import_module(module), function)
    return build(artifact)
