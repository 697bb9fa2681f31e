"""Why an object has its score: what each term adds, and the leading cue in words.

The only definition of both; messages, overlays and reports show what the scorer found with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tao_anomaly.structures import FloatArray

USUAL = "nothing unusual"
_NOTABLE, _STRONG = 2.0, 6.0  # normal deviations from which a cue is named, and named strongly
_FAST, _SLOW = 1.5, 0.5  # share of the usual speed from which motion is called by its speed
# What a term finds, where it is notable and where it is strong.
_WORDS = {
    "appearance": ("unusual appearance", "appearance unlike any seen"),
    "step_appearance": ("appearance changes", "appearance changes abruptly"),
    "cue_appearance": ("appearance unusual for this motion", "appearance unlike any moving so"),
    "speed": ("unusual speed", "speed unlike any seen"),
    "flow": ("unusual movement", "movement unlike any seen"),
    "local_velocity": ("unusual movement for this place", "movement never seen at this place"),
    "stay": ("stays unusually long", "stays longer than any seen"),
    "class": ("rare kind of object", "kind of object never seen"),
    "step_motion": ("unsteady motion", "erratic motion"),
    "cue_motion": ("motion unusual for this appearance", "motion unlike any looking so"),
    "recon": ("hard to predict", "unlike anything predicted"),
    "dissimilarity": ("unusual behaviour", "behaviour unlike any seen"),
}
_MOTION = ("speed", "flow", "local_velocity", "step_motion", "cue_motion")
_OF_WINDOWS = ("step_motion", "cue_motion")  # high for the slow too, and never of a single image


def leading_term(contributions: FloatArray, term_names: Sequence[str]) -> str:
    """Return the term that adds most, "" where the object ``(K,)`` has no score (NaN)."""
    total = float(contributions.sum())
    return term_names[int(contributions.argmax())] if math.isfinite(total) else ""


def cue_in_words(term: str, deviations: float, relative_speed: float) -> str:
    """Return what the leading term says, such as "3.1x usual speed"; "" for no term.

    deviations: of the term from normal, in normal deviations. relative_speed: over the usual speed
    of normal footage, NaN where that is not known.
    """
    if not term:
        return ""
    if deviations < _NOTABLE:
        return USUAL
    slow = term in _OF_WINDOWS and relative_speed <= _SLOW
    if slow or (term in _MOTION and relative_speed >= _FAST):
        return f"{relative_speed:.1f}x usual speed"
    notable, strong = _WORDS.get(term, (f"unusual {term}", f"very unusual {term}"))
    return strong if deviations >= _STRONG else notable
