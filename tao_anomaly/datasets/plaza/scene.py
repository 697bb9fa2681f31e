"""A scene: who is on the square at any time, what they do, and which of it is anomalous."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tao_anomaly.datasets.plaza import figures
from tao_anomaly.datasets.plaza.background import OBSTACLES
from tao_anomaly.datasets.plaza.crowd import Path, simulate
from tao_anomaly.datasets.plaza.drawing import Stroke
from tao_anomaly.datasets.plaza.figures import Look, random_look
from tao_anomaly.datasets.plaza.routes import Plan, plan_anomaly, plan_crowd

_WARM_UP = 30.0  # s before the first frame, in which the square fills
_FALL = 0.8  # s
_TOSS, _HOLD = 1.5, 0.5  # s that a ball flies and rests in the hand
GRAVITY = 9.81  # m/s2


@dataclass(frozen=True)
class Placed:
    """An actor at a time. track: its number, from 1. place: x, y of its foot, m."""

    track: int
    place: np.ndarray
    strokes: list[Stroke]


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One track. kind: of anomaly, "" for a normal one. category: what it is: person, bicycle...

    since, until: s, when it exists. anomalous_from: s, infinite where it never is. event: s, when
    it falls, leaves something behind or begins to throw.
    """

    track: int
    kind: str
    category: str
    path: Path
    look: Look
    since: float
    until: float
    anomalous_from: float
    event: float = math.inf

    def strokes(self, time: float) -> tuple[np.ndarray, list[Stroke]]:
        """Return place and strokes in the world, in metres."""
        place, heading, travelled, speed = self.path.at(
            self.event if self.category == "suitcase" else time
        )
        body = self._body(time, travelled, speed)
        cosine, sine = math.cos(heading), math.sin(heading)
        turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
        offset = np.array([place[0], place[1], 0])
        return place, [Stroke(s.points @ turn + offset, s.radius, s.colour) for s in body]

    def _body(self, time: float, travelled: float, speed: float) -> list[Stroke]:
        look = self.look
        match self.category:
            case "bicycle":
                return figures.bicycle(look, travelled)
            case "cart":
                return figures.cart(look)
            case "suitcase":
                return [s.moved(0.1, -0.45, 0) for s in figures.suitcase(look.bag)]
            case "ball":
                thrown = figures.ball(look.bag, _ball_height(time - self.event))
                return [s.moved(0.35, -0.25, 0) for s in thrown]
        if self.kind == "skateboarder":
            rider = figures.person(look, figures.SKATING)
            raised = [s.moved(0, 0, 0.15) for s in rider]
            return raised + figures.skateboard()
        body = figures.person(look, figures.walking(travelled, speed, look.height))
        if self.kind == "fallen":
            share = float(np.clip((time - self.event) / _FALL, 0, 1)) ** 2
            return figures.fallen(body, share)
        if self.kind == "" and time < self.event < math.inf:  # carries the case it will leave
            return body + [s.moved(0.1, -0.4, 0.12) for s in figures.suitcase(look.bag)]
        return body


def _ball_height(elapsed: float) -> float:
    """Return the height in m of a ball that is tossed up and caught, again and again."""
    phase = elapsed % (_TOSS + _HOLD)
    flight = min(phase, _TOSS)
    return 1.25 + GRAVITY / 2 * flight * (_TOSS - flight)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A clip before it is filmed: the same at every size and frame rate.

    seed: of the people and the light. place: of the square. seconds: length.
    """

    seed: int
    place: int
    seconds: float
    actors: tuple[Actor, ...]

    @staticmethod
    def build(
        *,
        seed: int,
        seconds: float,
        density: float = 12.0,
        kinds: Sequence[str] = (),
        place: int = 0,
    ) -> Scene:
        """Plan a scene; density: people on the square on average. kinds: of anomaly, each once."""
        random = np.random.default_rng([seed, 3])
        plans = plan_crowd(random, begin=-_WARM_UP, end=seconds, density=density)
        random = np.random.default_rng([seed, 5])  # an anomaly changes no plan of the others
        for number, kind in enumerate(kinds):
            moment = seconds * (number + 0.25) / len(kinds)
            plans.append(plan_anomaly(random, kind, moment=moment, seconds=seconds))
        paths = simulate([p.agent for p in plans], OBSTACLES, begin=-_WARM_UP, end=seconds)
        actors: list[Actor] = []
        random = np.random.default_rng([seed, 9])
        for plan, path in zip(plans, paths, strict=True):
            if path.end < 0 or path.start > seconds:
                continue
            actors += _actors(plan, path, random_look(random), len(actors) + 1, seconds)
        return Scene(seed=seed, place=place, seconds=seconds, actors=tuple(actors))

    def present(self, time: float) -> list[Placed]:
        """Return the actors on the square at `time` (s)."""
        return [
            Placed(actor.track, *actor.strokes(time))
            for actor in self.actors
            if actor.since <= time <= actor.until
        ]


def _actors(plan: Plan, path: Path, look: Look, track: int, seconds: float) -> list[Actor]:
    """Return the actor of a plan and the thing that it leaves or throws, if any."""
    arrived = len(path.arrivals) > plan.event_at >= 0
    event = path.arrivals[plan.event_at] + plan.event_after if arrived else math.inf
    alone = plan.thing == ""
    anomalous = -math.inf if plan.event_at < 0 else event
    owner = Actor(
        track=track,
        kind=plan.kind if alone else "",
        category=plan.category,
        path=path,
        look=look,
        since=path.start,
        until=path.end,
        anomalous_from=anomalous if plan.kind and alone else math.inf,
        event=math.inf if plan.thing == "ball" else event,
    )
    if alone or event > seconds:
        return [owner]
    thing = Actor(
        track=track + 1,
        kind=plan.kind,
        category=plan.thing,
        path=path,
        look=look,
        since=event,
        until=seconds if plan.thing == "suitcase" else path.end,
        anomalous_from=event,
        event=event,
    )
    return [owner, thing]
