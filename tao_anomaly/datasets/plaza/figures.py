"""Bodies and things as strokes and faces in metres: gait, poses, clothes, vehicles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tao_anomaly.datasets.plaza.drawing import Colour, Stroke

_SKIN: tuple[Colour, ...] = ((150, 180, 225), (120, 155, 205), (85, 120, 170), (50, 75, 115))
_HAIR: tuple[Colour, ...] = ((25, 25, 30), (40, 55, 80), (70, 110, 150), (150, 150, 155))
_TOPS: tuple[Colour, ...] = (
    (60, 50, 45), (205, 205, 200), (50, 55, 150), (125, 80, 45), (70, 105, 65), (60, 150, 190),
    (120, 115, 110), (95, 70, 110), (165, 135, 95), (40, 75, 130), (30, 30, 34), (150, 160, 175),
)  # fmt: skip
_BOTTOMS: tuple[Colour, ...] = (
    (95, 65, 45), (45, 40, 40), (75, 75, 78), (70, 95, 120), (120, 90, 65), (30, 28, 30),
    (110, 140, 160), (130, 125, 120),
)  # fmt: skip
_BAGS: tuple[Colour, ...] = ((35, 40, 110), (40, 40, 45), (90, 60, 40), (45, 85, 50))


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a person looks like. height: m. build: width against the usual."""

    height: float
    build: float
    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    shoes: Colour
    bag: Colour
    carries: str  # "", "backpack" or "handbag"
    coat: bool


def random_look(random: np.random.Generator) -> Look:
    """Return the look of a passer-by."""

    def one_of(colours: tuple[Colour, ...]) -> Colour:
        base = np.array(colours[random.integers(len(colours))]) + random.normal(0, 8, 3)
        blue, green, red = (int(v) for v in np.clip(base, 15, 235))
        return blue, green, red

    return Look(
        height=float(np.clip(random.normal(1.72, 0.09), 1.5, 1.95)),
        build=float(random.uniform(0.88, 1.18)),
        skin=one_of(_SKIN),
        hair=one_of(_HAIR),
        top=one_of(_TOPS),
        bottom=one_of(_BOTTOMS),
        shoes=one_of(((30, 30, 32), (60, 75, 100), (190, 190, 190))),
        bag=one_of(_BAGS),
        carries=str(random.choice(["", "", "", "backpack", "handbag"])),
        coat=bool(random.random() < 0.25),
    )


@dataclass(frozen=True)
class Pose:
    """Angles in radians, for a left and a right limb: thighs and arms forward, knees, elbows bent.

    lean: of the trunk, forward. stance: half the distance of the feet, m.
    """

    thighs: tuple[float, float]
    knees: tuple[float, float]
    arms: tuple[float, float]
    elbows: tuple[float, float]
    lean: float = 0.03
    stance: float = 0.08


def _v(x: float, y: float, z: float) -> np.ndarray:
    return np.array([x, y, z])


def walking(travelled: float, speed: float, height: float) -> Pose:
    """Return the pose of a walker, or above about 2.2 m/s a runner, after `travelled` metres.

    A cycle of two steps covers 0.83 heights at a stroll and grows with the speed.
    """
    run = float(np.clip((speed - 1.9) / 0.8, 0, 1))
    cycle = height * (0.5 + 0.25 * min(speed, 2) + 0.35 * run)
    phase = 2 * math.pi * travelled / cycle
    effort = min(1.0, speed / 0.7)
    swing = effort * (0.36 + 0.38 * run)
    sines = math.sin(phase), -math.sin(phase)
    cosines = math.cos(phase), -math.cos(phase)
    thighs = tuple(swing * s + 0.12 * run for s in sines)
    knees = tuple(0.08 + effort * (0.75 + 0.8 * run) * max(0.0, c) for c in cosines)
    arms = tuple(-(0.85 + 0.2 * run) * swing * s for s in sines)
    elbow = 0.2 + 1.3 * run
    return Pose(thighs, knees, arms, (elbow, elbow), lean=0.03 + 0.14 * run)  # type: ignore[arg-type]


SKATING = Pose((0.25, -0.2), (0.5, 0.35), (0.5, -0.6), (0.3, 0.4), lean=0.12, stance=0.1)


def person(look: Look, pose: Pose, *, seat: float | None = None) -> list[Stroke]:
    """Return a body in its own frame: forward, left, up, in metres, feet on the ground at 0.

    seat: height of the hip, where it is not borne by the feet.
    """
    legs = _legs(look, pose)
    feet = [point for _, _, ankle, toe in legs for point in (ankle, toe)]
    lowest = min(float(point[2]) for point in feet) - 0.025 * look.height
    forward = np.array([math.sin(pose.lean), 0, math.cos(pose.lean)])  # along the trunk, up
    strokes = [stroke for leg in legs for stroke in _leg_strokes(look, *leg)]
    strokes += _trunk(look, pose, forward)
    strokes += [s for side in (0, 1) for s in _arm(look, pose, forward, side)]
    strokes += _head(look, forward) + _carried(look, forward)
    return [s.moved(0.0, 0, -lowest if seat is None else seat) for s in strokes]


def _legs(look: Look, pose: Pose) -> list[tuple[np.ndarray, ...]]:
    """Return hip, knee, ankle and toe of each leg."""
    h = look.height
    thigh, shin = 0.245 * h, 0.25 * h
    legs: list[tuple[np.ndarray, ...]] = []
    for side, lift, bend in zip((1, -1), pose.thighs, pose.knees, strict=True):
        hip = np.array([0, side * 0.05 * h, 0])
        knee = hip + _v(
            thigh * math.sin(lift), side * (pose.stance - 0.08), -thigh * math.cos(lift)
        )
        low = lift - bend
        ankle = knee + _v(shin * math.sin(low), 0, -shin * math.cos(low))
        toe = ankle + _v(
            0.13 * h * math.cos(low * 0.6), 0, -0.02 * h + 0.13 * h * math.sin(low * 0.6)
        )
        legs.append((hip, knee, ankle, toe))
    return legs


def _leg_strokes(
    look: Look, hip: np.ndarray, knee: np.ndarray, ankle: np.ndarray, toe: np.ndarray
) -> list[Stroke]:
    h, wide = look.height, look.build
    return [
        Stroke(np.stack([ankle, toe]), 0.026 * h, look.shoes),
        Stroke(np.stack([knee, ankle]), 0.031 * h * wide, look.bottom),
        Stroke(np.stack([hip, knee]), 0.044 * h * wide, look.bottom),
    ]


def _shoulders(look: Look) -> np.ndarray:
    """Return the way from the middle of the chest to the left shoulder."""
    return 0.088 * look.height * look.build * np.array([0, 1.0, 0])


def _trunk(look: Look, pose: Pose, forward: np.ndarray) -> list[Stroke]:
    h, wide = look.height, look.build
    chest, shoulders = 0.29 * h * forward, _shoulders(look)
    waist = 0.062 * h * wide * np.array([0, 1.0, 0])
    outline = np.stack([waist, -waist, chest - shoulders, chest + shoulders])
    strokes = [
        Stroke(outline, 0, look.top),
        Stroke(np.stack([0.02 * h * forward, chest * 0.97]), 0.066 * h * wide, look.top),
        Stroke(np.stack([chest + shoulders, chest - shoulders]), 0.036 * h, look.top),
        Stroke(np.stack([waist * 0.6, -waist * 0.6]), 0.05 * h * wide, look.bottom),
    ]
    if look.coat:
        hem = -0.14 * h * np.array([0, 0, 1]) + _v(0.02 * h * math.sin(pose.thighs[0]), 0, 0)
        strokes.append(Stroke(np.stack([hem, 0.1 * h * forward]), 0.08 * h * wide, look.top))
    return strokes


def _arm(look: Look, pose: Pose, forward: np.ndarray, limb: int) -> list[Stroke]:
    """Return an arm; limb: 0 for the left, 1 for the right."""
    h, side = look.height, (1, -1)[limb]
    upper, fore = 0.17 * h, 0.155 * h
    shoulder = 0.29 * h * forward + side * _shoulders(look) * 1.22
    angle = pose.arms[limb] + pose.lean
    elbow = shoulder + _v(upper * math.sin(angle), side * 0.02 * h, -upper * math.cos(angle))
    angle += pose.elbows[limb]
    hand = elbow + _v(fore * math.sin(angle), 0, -fore * math.cos(angle))
    return [
        Stroke(np.stack([shoulder, elbow]), 0.029 * h * look.build, look.top),
        Stroke(np.stack([elbow, elbow + 0.85 * (hand - elbow)]), 0.024 * h, look.top),
        Stroke(np.stack([hand, hand]), 0.025 * h, look.skin),
    ]


def _head(look: Look, forward: np.ndarray) -> list[Stroke]:
    h = look.height
    chest, neck = 0.29 * h * forward, 0.335 * h * forward
    head = 0.405 * h * forward + _v(0.012 * h, 0, 0)
    hair = head + _v(-0.022 * h, 0, 0.012 * h), head + 0.02 * h * forward - [0.008 * h, 0, 0]
    return [
        Stroke(np.stack([chest, neck]), 0.028 * h, look.skin),
        Stroke(np.stack([head - 0.018 * h * forward, head]), 0.055 * h, look.skin),
        Stroke(np.stack(hair), 0.056 * h, look.hair),
    ]


def _carried(look: Look, forward: np.ndarray) -> list[Stroke]:
    h = look.height
    if look.carries == "backpack":
        back, chest = np.array([-0.1 * h, 0, 0]), 0.29 * h * forward
        return [Stroke(np.stack([back + 0.1 * chest, back + 0.85 * chest]), 0.072 * h, look.bag)]
    if look.carries == "handbag":
        return [Stroke(bag_points(0.2, 0.12) + _v(0, -0.19 * h, -0.06 * h), 0.07, look.bag)]
    return []


def bag_points(width: float, height: float) -> np.ndarray:
    """Return the outline ``(4, 3)`` of a bag that stands on the ground and lies along forward."""
    return np.array(
        [[-width / 2, 0, 0], [width / 2, 0, 0], [width / 2, 0, height], [-width / 2, 0, height]]
    )


def fallen(strokes: list[Stroke], share: float) -> list[Stroke]:
    """Return a body that tips forward about the feet; share: 0 upright, 1 on the ground."""
    angle = share * (math.pi / 2 - 0.04)
    sine, cosine = math.sin(angle), math.cos(angle)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    lift = np.array([0, 0, 0.12 * share])
    return [Stroke(s.points @ turn.T + lift, s.radius, s.colour) for s in strokes]


def skateboard() -> list[Stroke]:
    """Return a board below a rider's feet."""
    deck = np.array([[-0.4, 0, 0.1], [0.4, 0, 0.1]])
    wheels = [np.array([[x, y, 0.04]] * 2) for x in (-0.27, 0.27) for y in (-0.08, 0.08)]
    return [Stroke(deck, 0.05, (45, 60, 95)), *(Stroke(w, 0.04, (40, 40, 40)) for w in wheels)]


def ring(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Return a closed circle ``(21, 3)`` in the plane of forward and up."""
    angles = np.linspace(0, 2 * math.pi, 21)
    zero = np.zeros(21)
    return np.stack([radius * np.cos(angles), zero, radius * np.sin(angles)], axis=1) + centre


def bicycle(look: Look, travelled: float) -> list[Stroke]:
    """Return a bicycle and its rider, who pedals."""
    frame = look.bag
    wheel = 0.34
    crank = np.array([-0.05, 0, 0.29])
    seat, bar, rear, front = (
        np.array(p)
        for p in ([-0.22, 0, 0.92], [0.38, 0, 1.02], [-0.52, 0, wheel], [0.54, 0, wheel])
    )
    post, head = seat * [1, 1, 0.86], bar * [0.95, 1, 0.86]
    lines = [(rear, crank), (crank, seat), (rear, post), (crank, head), (post, head), (bar, front)]
    strokes = [Stroke(ring((x, 0, wheel), wheel), 0.022, (30, 30, 32)) for x in (-0.52, 0.54)]
    strokes += [Stroke(np.stack(line), 0.02, frame) for line in lines]
    angle = travelled / 1.1  # radians of the crank
    thighs, knees = [], []
    for turn in (angle, angle + math.pi):
        foot = crank - [0, 0, -0.03] + 0.17 * np.array([math.cos(turn), 0, math.sin(turn)])
        reach = foot - (seat + _v(0, 0, 0.06))
        length = min(float(np.hypot(reach[0], reach[2])), 0.49 * look.height)
        a, b = 0.245 * look.height, 0.25 * look.height
        bend = math.acos(np.clip((a * a + b * b - length * length) / (2 * a * b), -1, 1))
        inner = math.acos(np.clip((a * a + length**2 - b * b) / (2 * a * length), -1, 1))
        thighs.append(math.atan2(reach[0], -reach[2]) + inner)
        knees.append(math.pi - bend)
    pose = Pose((thighs[0], thighs[1]), (knees[0], knees[1]), (0.55, 0.55), (0.35, 0.35), lean=0.5)
    rider = person(look, pose, seat=float(seat[2]) + 0.06)
    return strokes + [s.moved(float(seat[0]), 0, 0) for s in rider]


def cart(look: Look) -> list[Stroke]:
    """Return an open electric cart with its driver."""
    body, dark, roof = (190, 200, 200), (45, 45, 48), (170, 185, 190)
    strokes = []
    for x in (-0.75, 0.75):
        for y in (-0.5, 0.5):
            strokes.append(Stroke(np.array([[x, y, 0.25]] * 2), 0.25, dark))
    strokes += box((-1.15, -0.55, 0.25), (1.15, 0.55, 0.6), body)
    strokes += box((-1.1, -0.5, 0.6), (-0.55, 0.5, 0.95), (60, 110, 165))
    strokes += box((0.8, -0.52, 0.6), (1.12, 0.52, 0.9), body)
    for x in (-1.05, 0.85):
        for y in (-0.5, 0.5):
            strokes.append(Stroke(np.array([[x, y, 0.6], [x * 0.92, y, 1.85]]), 0.025, dark))
    seated = Pose((1.35, 1.35), (1.2, 1.2), (0.7, 0.7), (0.5, 0.5), lean=-0.05)
    driver = person(look, seated, seat=0.85)
    strokes += [s.moved(-0.35, 0.2, 0) for s in driver]
    return strokes + box((-1.15, -0.58, 1.85), (0.95, 0.58, 1.93), roof)


def box(low: tuple[float, ...], high: tuple[float, ...], colour: Colour) -> list[Stroke]:
    """Return the faces of a box; those that look up are brighter, the ends darker."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    shades = {
        0.72: [[(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)] for x in (x0, x1)],
        0.88: [[(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)] for y in (y0, y1)],
        1.12: [[(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)]],
    }
    faces = []
    for shade, corners in shades.items():
        blue, green, red = (int(min(255, c * shade)) for c in colour)
        faces += [Stroke(np.array(face, np.float64), 0, (blue, green, red)) for face in corners]
    return faces


def suitcase(colour: Colour) -> list[Stroke]:
    """Return a case that stands on the ground."""
    faces = box((-0.28, -0.13, 0.03), (0.28, 0.13, 0.55), colour)
    handle = np.array([[-0.1, 0, 0.55], [-0.1, 0, 0.66], [0.1, 0, 0.66], [0.1, 0, 0.55]])
    return [*faces, Stroke(handle, 0.02, (40, 40, 40))]


def ball(colour: Colour, height: float) -> list[Stroke]:
    """Return a ball at `height` metres."""
    centre = np.array([[0.0, 0, height]] * 2)
    spot = centre + _v(0, 0, 0.05)
    return [Stroke(centre, 0.14, colour), Stroke(spot, 0.05, (235, 235, 235))]
