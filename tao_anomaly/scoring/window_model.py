"""What turns windows into raw anomaly terms, and how a kind of model is found."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tao_anomaly.structures import FloatArray, TrackWindows

if TYPE_CHECKING:
    from tao_anomaly.model.artifact import Artifact


class WindowModel(Protocol):
    """A fitted model of normal windows: stateless and deterministic.

    term_names: what its K terms are called; higher means less normal.
    """

    @property
    def term_names(self) -> tuple[str, ...]: ...  # noqa: D102 (documented above)

    def terms(self, windows: TrackWindows) -> FloatArray:
        """Return the raw terms ``(M, K)`` of the windows, NaN where one cannot be scored."""
        ...

    def speeds(self, windows: TrackWindows) -> FloatArray:
        """Return the speed ``(M,)`` in person heights a second, NaN where it is not known.

        It explains scores and is no part of them.
        """
        ...


# kind of artifact -> module:function that builds its model; imported when first needed
WINDOW_MODELS = {
    "nearest_neighbours": "tao_anomaly.scoring.nearest_neighbours:build",
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
