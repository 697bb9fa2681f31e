"""Plans of the people on the square: where from, where to, how fast; and the anomalies.

Normal: people keep to the lanes, alone or in groups of two to four; the near lane
leads to the right and the far one to the left; some come out of a door or go in; some stop for 2 to
6 s. Speed of those who move: mean 1.24 m/s, deviation 0.21, 1st and 99th percentile 0.55 and 1.67
(four scenes of 60 s, density 12). All else is an anomaly, one of KINDS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tao_anomaly.datasets.plaza.background import DOORS, WALL
from tao_anomaly.datasets.plaza.camera import GroundCamera
from tao_anomaly.datasets.plaza.crowd import Agent

NEAR, FAR = (10.6, 15.6), (18.9, 26.6)  # m ahead: the lanes
KINDS = (
    "cyclist",
    "skateboarder",
    "runner",
    "cart",
    "wrong_way",
    "loiterer",
    "fallen",
    "left_object",
    "thrown_object",
)
_VIEW = GroundCamera(width=16, height=9)
_CROSSING = 15.0  # s that a walker is in view, about
_WAIT_FOREVER = 1e6  # s
_SPEEDS = {
    "cyclist": (4.0, 5.5),
    "skateboarder": (3.0, 4.2),
    "runner": (3.0, 4.0),
    "cart": (2.6, 3.4),
}
_CATEGORIES = {"cyclist": "bicycle", "cart": "cart"}
_LOITERING = 8.0  # s at a place after which it is an anomaly: longer than any stop of the normal


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An agent and what it is. event_at: way point of its event, -1 for none; event_after: s later.

    thing: what it leaves ("suitcase") or throws ("ball"), which is then the anomaly.
    """

    agent: Agent
    kind: str = ""
    category: str = "person"
    event_at: int = -1
    event_after: float = 0.0
    thing: str = ""


def plan_crowd(
    random: np.random.Generator, *, begin: float, end: float, density: float
) -> list[Plan]:
    """Return the normal people who come between `begin` and `end` (s)."""
    plans: list[Plan] = []
    time, group = begin, 0
    while density > 0:
        size = int(random.choice([1, 1, 1, 1, 2, 2, 3, 4]))
        time += float(random.exponential(_CROSSING / density * size))
        if time >= end:
            break
        route = _normal_route(random)
        speed = _walking_speed(random)
        for member in range(size):
            aside = np.array([0.25 * (member % 2), 0.75 * member - 0.35 * (size - 1), 0])
            own = route + np.where(np.arange(len(route))[:, None] >= 0, aside, 0)
            agent = Agent(
                route=own, start=time, speed=speed, group=group if size > 1 else -1, radius=0.3
            )
            plans.append(Plan(agent=agent))
        group += 1
    return plans


def _walking_speed(random: np.random.Generator) -> float:
    return float(np.clip(random.normal(1.32, 0.18), 0.95, 1.7))


def _edge(y: float) -> float:
    return _VIEW.half_width(y) + 1.5


def _normal_route(random: np.random.Generator) -> np.ndarray:
    """Return way points x, y, wait of a passer-by."""
    near = random.random() < 0.5
    lane, way = (NEAR, 1.0) if near else (FAR, -1.0)
    y = random.uniform(*lane, size=3)
    y = np.clip(y[0] + 0.35 * (y - y[0]), *lane)
    ends = [(-way * _edge(y[0]), y[0], 0.0), (way * _edge(y[2]), y[2], 0.0)]
    wait = float(random.uniform(2, 6)) if random.random() < 0.15 else 0.0
    middle = [(float(random.uniform(-3, 3)), y[1], wait)]
    if not near and random.random() < 0.4:
        door = (float(random.choice(DOORS)), WALL - 0.9, 0.0)
        if random.random() < 0.5:
            return np.array([door, (door[0] + way * 3, y[2], 0.0), ends[1]])
        return np.array([ends[0], (door[0] - way * 3, y[0], 0.0), door])
    return np.array([ends[0], *middle, ends[1]])


def plan_anomaly(random: np.random.Generator, kind: str, *, moment: float, seconds: float) -> Plan:
    """Return an anomaly that begins about `moment` (s) in a scene of `seconds`.

    Raises ValueError for a kind that is not of KINDS.
    """
    if kind not in KINDS:
        raise ValueError(f"got anomaly {kind!r}, expected one of {', '.join(KINDS)}")
    near = bool(random.random() < 0.5)
    lane, way = (NEAR, 1.0) if near else (FAR, -1.0)
    if kind == "wrong_way":
        way = -way
    y = float(random.uniform(lane[0] + 0.8, lane[1] - 0.8))
    begin, finish = (-way * _edge(y), y, 0.0), (way * _edge(y), y, 0.0)
    if kind in _SPEEDS:
        agent = Agent(
            route=np.array([begin, finish]),
            start=moment,
            speed=float(random.uniform(*_SPEEDS[kind])),
            radius=1.2 if kind == "cart" else 0.7,
            yields=0.3,
        )
        return Plan(agent=agent, kind=kind, category=_CATEGORIES.get(kind, "person"))
    speed = _walking_speed(random)
    spot = (float(random.uniform(-2.5, 2.5)), y)
    walk = (abs(spot[0] - begin[0])) / speed
    if kind == "wrong_way":
        return Plan(
            agent=Agent(route=np.array([begin, finish]), start=moment, speed=speed), kind=kind
        )
    if kind == "thrown_object":
        route = np.array([begin, (begin[0] + way * 1.8, y, 0.0), finish])
        agent = Agent(route=route, start=moment, speed=speed)
        return Plan(agent=agent, kind=kind, event_at=1, thing="ball")
    start = moment - walk
    if kind == "left_object":
        route = np.array([begin, (*spot, 1.5), finish])
        return Plan(
            agent=Agent(route=route, start=start, speed=speed),
            kind=kind, event_at=1, event_after=0.8, thing="suitcase",
        )  # fmt: skip
    if kind == "fallen":
        route = np.array([begin, (*spot, _WAIT_FOREVER), finish])
        return Plan(
            agent=Agent(route=route, start=start, speed=speed),
            kind=kind,
            event_at=1,
            event_after=0.3,
        )
    strolls = int(seconds / 3) + 2
    around = np.array(spot) + random.uniform(-1.3, 1.3, (strolls, 2))
    waits = random.uniform(0.5, 3, strolls)
    paces = np.concatenate([around, waits[:, None]], axis=1)
    route = np.concatenate([[begin, (*spot, 2.0)], paces, [finish]])
    agent = Agent(route=route, start=start, speed=min(speed, 1.1))
    return Plan(agent=agent, kind=kind, event_at=1, event_after=_LOITERING)
