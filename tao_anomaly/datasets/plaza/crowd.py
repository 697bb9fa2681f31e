"""Who walks where: agents that follow routes and give way to each other, in metres and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEP = 0.1  # s, of the simulation; the frame rate of a film samples its result
_RELAXATION = 0.4  # s to take up the wanted velocity
_REACHED = 0.7  # m from a way point


@dataclass(frozen=True, kw_only=True)
class Agent:
    """Someone with a plan. route ``(W, 3)``: way points x, y (m) and the time to wait there (s).

    start: time of appearance at the first way point. speed: m/s between way points. radius: m that
    others keep away. group: agents of one group do not shun each other. yields: share of the way
    it gives to others.
    """

    route: np.ndarray
    start: float
    speed: float
    radius: float = 0.35
    group: int = -1
    yields: float = 1.0


@dataclass(frozen=True)
class Path:
    """Where an agent went. positions ``(n, 2)``: m, every STEP from `start` (s).

    arrivals: s at the way points, the first included.
    heading ``(n,)``: radians from +X. travelled ``(n,)``: m since the start.
    """

    start: float
    positions: np.ndarray
    heading: np.ndarray
    travelled: np.ndarray
    arrivals: tuple[float, ...]

    @property
    def end(self) -> float:
        """Time of the last position, s."""
        return self.start + (len(self.positions) - 1) * STEP

    def at(self, time: float) -> tuple[np.ndarray, float, float, float]:
        """Return position (m), heading (rad), distance travelled (m) and speed (m/s) at `time`."""
        place = float(np.clip((time - self.start) / STEP, 0, len(self.positions) - 1.001))
        index = int(place)
        share = place - index
        both = self.positions[index : index + 2]
        step = self.travelled[index + 1] - self.travelled[index]
        return (
            both[0] + share * (both[1] - both[0]),
            float(self.heading[index] + share * (self.heading[index + 1] - self.heading[index])),
            float(self.travelled[index] + share * step),
            float(step / STEP),
        )


def simulate(
    agents: Sequence[Agent], obstacles: np.ndarray, *, begin: float, end: float
) -> list[Path]:
    """Return the path of each agent from `begin` to `end` (s); obstacles ``(O, 3)``: x, y, radius.

    An agent disappears at its last way point.
    """
    crowd = _Crowd(agents, obstacles, begin)
    for step in range(round((end - begin) / STEP) + 1):
        crowd.step(begin + step * STEP)
    return crowd.paths()


class _Crowd:
    """The state of all agents."""

    def __init__(self, agents: Sequence[Agent], obstacles: np.ndarray, begin: float) -> None:
        count = len(agents)
        self._agents, self._obstacles, self._begin = agents, obstacles, begin
        self._position = np.array([a.route[0, :2] for a in agents], np.float64).reshape(count, 2)
        self._velocity = np.zeros((count, 2))
        self._target = np.ones(count, np.int64)
        self._waiting = np.full(count, -np.inf)  # s, until when
        self._tracks: list[list[np.ndarray]] = [[] for _ in agents]
        self._arrivals: list[list[float]] = [[agent.start] for agent in agents]
        self._radius = np.array([a.radius for a in agents])
        self._group = np.array([a.group for a in agents])
        self._speed = np.array([a.speed for a in agents])
        self._yields = np.array([a.yields for a in agents])

    def step(self, now: float) -> None:
        """Note where everybody is at `now` (s) and move them on by STEP."""
        active = np.array([i for i in range(len(self._agents)) if self._arrive(i, now)], np.int64)
        if not len(active):
            return
        position, velocity = self._position[active], self._velocity[active]
        goals = [self._agents[i].route[self._target[i], :2] for i in active]
        there = np.array(goals) - position
        paused = self._waiting[active] > now
        pace = np.where(paused, 0, self._speed[active])
        wanted = there / np.maximum(np.hypot(*there.T), 1e-6)[:, None] * pace[:, None]
        push = _push(position, self._radius[active], self._group[active], self._obstacles)
        push *= np.where(paused, 0, self._yields[active])[:, None]
        velocity += (wanted + push - velocity) * STEP / _RELAXATION
        # Whoever gives way goes round, not faster.
        faster = np.hypot(*velocity.T) / (1.15 * self._speed[active])
        velocity /= np.maximum(1, faster)[:, None]
        self._velocity[active] = velocity
        self._position[active] = position + velocity * STEP

    def paths(self) -> list[Path]:
        """Return where everybody went."""
        both = zip(self._tracks, self._arrivals, strict=True)
        return [_path(track, arrivals, self._begin) for track, arrivals in both]

    def _arrive(self, i: int, now: float) -> bool:
        """Note the place of agent `i` and if it came to a way point; False if it is away."""
        agent = self._agents[i]
        if agent.start > now or self._target[i] >= len(agent.route):
            return False
        self._tracks[i].append(self._position[i].copy())
        goal = agent.route[self._target[i]]
        if self._waiting[i] <= now and np.hypot(*(goal[:2] - self._position[i])) < _REACHED:
            self._arrivals[i].append(now)
            self._waiting[i] = now + goal[2]
            self._target[i] += 1
        return bool(self._target[i] < len(agent.route))


def _push(
    position: np.ndarray, radius: np.ndarray, group: np.ndarray, obstacles: np.ndarray
) -> np.ndarray:
    """Return the velocity ``(N, 2)`` by which each agent shuns the others and the obstacles."""
    away = position[:, None] - np.concatenate([position, obstacles[:, :2]])[None]
    distance = np.maximum(np.hypot(away[..., 0], away[..., 1]), 1e-3)
    gap = distance - radius[:, None] - np.concatenate([radius, obstacles[:, 2]])[None]
    strength = 0.9 * np.exp(-np.maximum(gap, -0.2) / 0.3)
    count = len(position)
    friends = (group[:, None] == group[None]) & (group[:, None] >= 0)
    strength[:, :count][friends] *= 0.15
    strength[:, :count][np.eye(count, dtype=bool)] = 0
    # Turned to the right, so that people who meet head on pass and do not stop.
    unit = away / distance[..., None]
    turned = unit + 0.5 * np.stack([unit[..., 1], -unit[..., 0]], axis=-1)
    return (turned * strength[..., None]).sum(axis=1)


def _path(track: list[np.ndarray], arrivals: list[float], begin: float) -> Path:
    if len(track) < 2:
        track = [np.zeros(2), np.zeros(2)] if not track else [track[0], track[0]]
    positions = np.stack(track)
    if len(positions) > 6:  # the steering is jerky on the scale of a step
        padded = np.pad(positions, ((2, 2), (0, 0)), mode="reflect", reflect_type="odd")
        positions = np.mean([padded[i : len(padded) - 4 + i] for i in range(5)], axis=0)
    moves = np.diff(positions, axis=0)
    lengths = np.hypot(*moves.T)
    start = np.ceil((arrivals[0] - begin) / STEP - 1e-9) * STEP + begin
    return Path(
        start=float(start),
        positions=positions,
        heading=_headings(moves, lengths),
        travelled=np.concatenate([[0.0], np.cumsum(lengths)]),
        arrivals=tuple(arrivals),
    )


def _headings(moves: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return unwrapped headings ``(n,)``; who stands looks where he went last."""
    moving = np.flatnonzero(lengths > 0.02)
    if not len(moving):
        return np.zeros(len(moves) + 1)
    last = np.maximum(np.searchsorted(moving, np.arange(len(moves)), side="right") - 1, 0)
    angles = np.unwrap(np.arctan2(moves[:, 1], moves[:, 0])[moving[last]])
    kernel = 7
    padded = np.pad(angles, kernel // 2, mode="edge")
    smooth = np.convolve(padded, np.full(kernel, 1 / kernel), mode="valid")
    return np.append(smooth, smooth[-1])
