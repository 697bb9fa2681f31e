"""Colours of states in every picture, from the palette of Okabe and Ito.

Colour-blind people can tell them apart (Okabe and Ito, "Color Universal Design", 2008).
"""

from __future__ import annotations

from tao_anomaly.structures import AnomalyState

STATE_RGB: dict[AnomalyState, tuple[int, int, int]] = {
    AnomalyState.WARMUP: (140, 140, 140),
    AnomalyState.NORMAL: (0, 114, 178),
    AnomalyState.ANOMALOUS: (213, 94, 0),
    AnomalyState.INVALID: (240, 228, 66),
}
STATE_BGR = {state: (b, g, r) for state, (r, g, b) in STATE_RGB.items()}


def text_on(state: AnomalyState) -> tuple[int, int, int]:
    """Return black or white, whichever is read on the colour of a state."""
    red, green, blue = STATE_RGB[state]
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 160
    return (0, 0, 0) if light else (255, 255, 255)
