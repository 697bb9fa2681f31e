"""A still video against itself under known pans, shakes and zooms: ids, speeds and scores.

A still camera elsewhere shows how much the detector alone varies with the sampling of the image.

``python benchmarks/camera_motion.py source=<video or folder> normal=<footage> output=<file>``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr
from tqdm import tqdm

# This checkout is measured, whatever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conditions import conditions, listed
from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.command_line import run
from tao_anomaly.config import CalibrationConfig, PipelineConfig, setting
from tao_anomaly.detection.boxes import iou
from tao_anomaly.detection.detector import Detector
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.media.source import SourceError, open_source, stamp_of
from tao_anomaly.pipeline import Perception
from tao_anomaly.scoring.cues import Cues
from tao_anomaly.scoring.fitting import calibrate
from tao_anomaly.scoring.normal_scores import ThresholdError
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import BoolArray, FloatArray, Frame, ImageArray, TrackFeatures
from tao_anomaly.tracking.camera_motion import CameraMotion, CameraMotionEstimator
from tao_anomaly.weights import WeightsError
from tao_anomaly.windows import TrackBuffer

DESCRIPTION = """# Moving cameras

A still video is seen through a virtual camera (0.8 of its width and height) that stands, stands
elsewhere and closer (1.1 times), pans (2.4 pixels an image at 360x240), shakes (deviation 1 % of
the width, 0.3 degrees) or zooms (1 to 1.3). Every row is compared with the still camera of the same
setting, the row "still, compensate" with "still, static". "elsewhere" is the floor: what the
detector alone varies with the sampling of the image. Speeds in box heights a second; scores as
the nodes give them, with alarms from about 1 to 3 on. Errors are median differences, correlations
those of ranks: where all scores are normal, as in vtest.avi, they compare noise with noise.
"""
KINDS = ("still", "elsewhere", "pan", "shake", "zoom")
MODES = ("static", "compensate")
HEADER = """| camera | camera_motion | IDF1 | median speed | speed error | speed correlation \
| score error | score correlation |
|---|---|---:|---:|---:|---:|---:|---:|"""
VIEW = 0.8  # share of the width and height that the moving camera sees
_SPEED = [KINEMATICS.index(name) for name in ("velocity_x", "velocity_y")]
_HEIGHT = KINEMATICS.index("log_height")


@dataclass
class MotionConfig:
    """Settings of the command."""

    source: str = setting("", "video or image folder of a still camera")
    normal: str = setting("", "normal footage of it; empty: the images of source after those used")
    images: int = setting(60, "images used", minimum=10)
    normal_images: int = setting(120, "images of the normal footage", minimum=30)
    output: str = setting(
        "", "Markdown file that the table is added to, made if it is not there; empty: printed only"
    )
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)


@dataclass(frozen=True)
class Seen:
    """Objects of a view: per image ids, boxes in the still scene, speeds and scores.

    poses: of the views. size: height and width of a view.
    """

    ids: list[tuple[str, ...]]
    boxes: list[FloatArray]
    speeds: list[FloatArray]
    scores: list[FloatArray]
    poses: list[CameraMotion]
    size: tuple[int, int]

    def covers(self, boxes: FloatArray, index: int) -> BoolArray:
        """Return whether view `index` holds the centre of boxes ``(N, 4)`` of the scene."""
        centres = self.poses[index].points((boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2)
        return np.asarray(((centres > 0) & (centres < self.size[::-1])).all(axis=1))


def pose(kind: str, index: int, size: tuple[int, int]) -> CameraMotion:
    """Return where points of the scene lie in view `index`; the view never leaves the scene."""
    height, width = size
    room = np.array([width, height]) * (1 - VIEW) / 2
    scale, angle = 1.0, 0.0
    shift: NDArray[np.float64] = np.zeros(2)
    if kind == "elsewhere":
        scale, shift = 1.1, room * np.array([0.3, -0.3])
    elif kind == "pan":  # to and fro, a crossing in 30 images
        shift = room * (1 - 2 * abs(index / 30 % 2 - 1)) * np.array([1.0, 0.5])
    elif kind == "shake":
        random = np.random.default_rng(index)
        shift, angle = random.normal(0, 0.01 * width, 2), random.normal(0, 0.005)
        shift = np.clip(shift, -room / 2, room / 2)
    elif kind == "zoom":
        scale = 1.15 + 0.15 * np.sin(index / 10)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([width, height]) / 2
    return CameraMotion(scale * turn, centre * VIEW + shift - scale * turn @ centre)


def view(image: ImageArray, where: CameraMotion) -> ImageArray:
    """Return what the camera sees; pixel centres lie at half pixels."""
    shift = where.shift + where.linear @ np.full(2, 0.5) - 0.5
    matrix = np.concatenate([where.linear, shift[:, None]], axis=1)
    size = round(image.shape[1] * VIEW), round(image.shape[0] * VIEW)
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC))


def perceive(frames: Sequence[Frame], perception: Perception, kind: str) -> list[TrackFeatures]:
    """Return the tracked objects of each view."""
    seen = []
    for frame in tqdm(frames, desc=kind):
        where = pose(kind, frame.index, frame.size)
        features = perception.process(replace(frame, image=view(frame.image, where)))
        assert features is not None
        seen.append(features)
    return seen


def fit(clip: list[TrackFeatures], perception: Perception, config: PipelineConfig) -> Scorer:
    """Return the baseline fitted on one half of the normal views and scaled on the other."""
    half = len(clip) // 2
    model = Cues.fit(
        [clip[:half]],
        layout=perception.layout,
        camera_motion=config.tracker.camera_motion,
        windows=config.windows,
    )
    calibration = calibrate(
        model,
        weights=model.weights,
        calibration_clips={"later half": clip[half:]},
        check_clips={},
        feature_id=perception.feature_id,
        windows=config.windows,
        scorer=config.scorer,
        config=CalibrationConfig(rule="fixed"),
    )
    return Scorer(
        model=model,
        calibration=calibration,
        feature_id=perception.feature_id,
        config=config.scorer,
    )


def score(
    clip: list[TrackFeatures], poses: list[CameraMotion], scorer: Scorer, config: PipelineConfig
) -> Seen:
    """Return the objects with boxes back in the still scene."""
    buffer, scores = TrackBuffer(config.windows), []
    scorer.reset()
    for features in clip:
        scores.append(scorer.update(buffer.update(features)).scores)
    start = scorer.model.layout.kinematics_slice.start  # type: ignore[attr-defined]
    speeds = []
    for features in clip:
        kinematics = features.features[:, start : start + len(KINEMATICS)]
        speeds.append(
            np.linalg.norm(kinematics[:, _SPEED], axis=1) / np.exp(kinematics[:, _HEIGHT])
        )
    boxes: list[FloatArray] = []
    for features, where in zip(clip, poses, strict=True):
        back = where.inverse()
        boxes.append(
            np.array([back.box(box) for box in features.tracks.boxes], np.float32).reshape(-1, 4)
        )
    ids = [features.tracks.ids for features in clip]
    return Seen(ids, boxes, speeds, scores, poses, clip[0].image_size)


def compare(still: Seen, moving: Seen) -> dict[str, float]:
    """Return how far a moving camera's objects are those of the still one.

    Of objects that both views hold. identity: IDF1 (Ristani et al., 2016) against the still
    camera's tracks. speed_error: median difference in box heights a second; score_error: that of
    the scores; speed_correlation and score_correlation: Spearman's.
    """
    total = 0
    pairs: list[tuple[str, str]] = []
    speeds, scores = [], []
    for i in range(len(still.ids)):
        overlap = iou(still.boxes[i], moving.boxes[i])
        in_both = moving.covers(still.boxes[i], i), still.covers(moving.boxes[i], i)
        overlap[~in_both[0]] = 0.0
        overlap[:, ~in_both[1]] = 0.0
        total += sum(map(np.count_nonzero, in_both))
        for a, b in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
            if overlap[a, b] >= 0.5:
                pairs.append((still.ids[i][a], moving.ids[i][b]))
                speeds.append((still.speeds[i][a], moving.speeds[i][b]))
                scores.append((still.scores[i][a], moving.scores[i][b]))
    firsts, first = np.unique([a for a, _ in pairs], return_inverse=True)
    seconds, second = np.unique([b for _, b in pairs], return_inverse=True)
    counts = np.zeros((len(firsts), len(seconds)))
    np.add.at(counts, (first, second), 1)
    agreeing = counts[linear_sum_assignment(counts, maximize=True)].sum()
    speed = np.array(speeds)
    scored = np.array([pair for pair in scores if np.isfinite(pair).all()])
    return {
        "identity": 2 * agreeing / total,
        "speed": float(np.median(speed[:, 0])),
        "speed_error": float(np.median(np.abs(speed[:, 0] - speed[:, 1]))),
        "speed_correlation": float(spearmanr(speed).statistic),
        "score_error": float(np.median(np.abs(scored[:, 0] - scored[:, 1]))),
        "score_correlation": float(spearmanr(scored).statistic),
    }


def cost(frames: Sequence[Frame]) -> float:
    """Return the median milliseconds an image of the estimator alone."""
    estimator, times = CameraMotionEstimator(), []
    for frame in frames:
        started = time.perf_counter()
        estimator.update(frame.image, np.zeros((0, 4), np.float32))
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times[1:]))


def measure(frames: list[Frame], normal: list[Frame], config: MotionConfig) -> str:
    """Return the rows of the table: each motion, ignored and compensated."""
    detector = Detector.from_config(config.pipeline.detector)
    rows = []
    for mode in MODES:
        tracker = replace(config.pipeline.tracker, camera_motion=mode)
        pipeline = replace(config.pipeline, tracker=tracker)
        perception = Perception.from_config(pipeline, detector=detector)
        scorer = fit(perceive(normal, perception, "still"), perception, pipeline)
        seen = {}
        for kind in KINDS:
            perception.reset()
            poses = [pose(kind, frame.index, frame.size) for frame in frames]
            seen[kind] = score(perceive(frames, perception, kind), poses, scorer, pipeline)
        if mode == MODES[0]:
            static = seen["still"]
        for kind in KINDS:
            found = compare(static if kind == "still" else seen["still"], seen[kind])
            values = " | ".join(f"{value:.3f}" for value in found.values())
            rows.append(f"| {kind} | {mode} | {values} |")
    return "\n".join(rows)


def body(config: MotionConfig) -> None:
    """Run the command."""
    if not config.source:
        raise SourceError("give source=<video or image folder of a still camera>")
    cv2.setNumThreads(1)
    source = open_source(config.source)
    whole = list(islice(source, config.images + (0 if config.normal else config.normal_images)))
    frames, rest = whole[: config.images], whole[config.images :]
    if config.normal:
        rest = list(islice(open_source(config.normal), config.normal_images))
    rest = [replace(f, stamp_ns=stamp_of(i, source.rate)) for i, f in enumerate(rest)]
    height, width = frames[0].size
    facts = conditions() | {"Detector": config.pipeline.detector.weights, "Threads of OpenCV": "1"}
    text = f"""
## {Path(config.source).name}, {width}x{height}, {len(frames)} images at {source.rate:g} Hz

{listed(facts)}

{HEADER}
{measure(frames, rest, config)}

Cost of the estimator: {cost(frames):.1f} ms an image, one thread.
"""
    print(text)
    if config.output:
        path = Path(config.output).expanduser()
        before = path.read_text("utf-8") if path.exists() else DESCRIPTION
        write_atomically(path, before + text)


def main() -> int:
    """Run the command line."""
    errors = (SourceError, WeightsError, ThresholdError, ValueError, OSError)
    return run(MotionConfig, body, description=__doc__, errors=errors)


if __name__ == "__main__":
    sys.exit(main())
