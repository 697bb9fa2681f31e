from __future__ import annotations

import math

import numpy as np
import pytest

from tao_anomaly.model.examination import TERMS
from tao_anomaly.scoring import explanation
from tao_anomaly.scoring.cues import CUES
from tao_anomaly.scoring.explanation import cue_in_words, leading_term

NAMES = ("speed", "appearance")


@pytest.mark.parametrize(
    ("contributions", "leading"),
    [((2.0, 1.0), "speed"), ((-3.0, -1.0), "appearance"), ((math.nan, 1.0), "")],
)
def test_the_leading_term_adds_most(contributions: tuple[float, ...], leading: str) -> None:
    assert leading_term(np.array(contributions, np.float32), NAMES) == leading


@pytest.mark.parametrize(
    ("term", "deviations", "speed", "words"),
    [
        ("speed", 5.0, 3.14, "3.1x usual speed"),
        ("cue_motion", 2.0, 0.24, "0.2x usual speed"),
        ("step_motion", 2.0, 1.0, "unsteady motion"),
        ("step_motion", 6.0, math.nan, "erratic motion"),
        ("flow", 3.0, 2.0, "2.0x usual speed"),
        ("flow", 3.0, 1.0, "unusual movement"),
        ("flow", 6.0, 0.0, "movement unlike any seen"),  # seen once: no speed is known yet
        ("local_velocity", 3.0, 1.0, "unusual movement for this place"),
        ("stay", 3.0, 1.0, "stays unusually long"),
        ("stay", 6.0, 9.0, "stays longer than any seen"),  # whatever its speed
        ("class", 7.0, 2.0, "kind of object never seen"),
        ("appearance", 2.0, 9.0, "unusual appearance"),
        ("appearance", 6.0, 9.0, "appearance unlike any seen"),
        ("speed", 1.99, 1.6, "nothing unusual"),
        ("gait", 3.0, 1.0, "unusual gait"),
        ("", math.nan, 1.0, ""),
    ],
)
def test_the_cue_in_words(term: str, deviations: float, speed: float, words: str) -> None:
    assert cue_in_words(term, deviations, speed) == words


def test_every_term_has_words_of_its_own() -> None:
    assert set(explanation._WORDS) == {*TERMS, *CUES}
    said = [words for pair in explanation._WORDS.values() for words in pair]
    assert len(set(said)) == len(said)
    assert max(map(len, said)) <= 40
