"""Every default of the package, once: one dataclass a stage.

Nodes declare their parameters from these classes, the command lines and Hydra build on them and
artifacts store them. A field's ``metadata["description"]`` is its documentation everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


def setting(default: Any, description: str, **limits: Any) -> Any:
    """Declare one documented setting.

    limits: ``minimum`` and ``maximum`` (inclusive) or ``choices`` for checks, ``live=True`` where a
    running node may change it.
    """
    metadata = {"description": description, **limits}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class DetectorConfig:
    """Frozen object detector."""

    weights: str = setting(
        "yolov8n",
        "detector weights: a path, or the name of a model that is looked for in"
        " $TAO_ANOMALY_SHARED/weights and in the user's cache",
    )
    weights_sha256: str = setting(
        "",
        "SHA-256 that the weights file must have; empty: a checkpoint (.pt) must be a known one, an"
        " export (.onnx) may be any; `any`: the file is trusted whatever it holds",
    )
    backend: str = setting(
        "auto",
        "inference backend: auto (torch on CUDA, else the first of openvino_bf16, openvino,"
        " onnxruntime, torch that is there, pays and agrees with torch) or one by name",
        choices=("auto", "openvino_bf16", "openvino", "onnxruntime", "tensorrt", "torch"),
    )
    device: str = setting("auto", "torch device: auto, cpu, cuda, cuda:N")
    input_size: int = setting(
        640, "long side of the detector's input in pixels, a multiple of 32", minimum=32
    )
    confidence: float = setting(
        0.05, "lowest detection confidence kept", minimum=0.001, maximum=1.0
    )
    nms_iou: float = setting(
        0.7, "boxes of one class above this IoU are one object", minimum=0.0, maximum=1.0
    )
    part_overlap: float = setting(
        0.5,
        "a box with at least this share of its area inside a more confident one, or if small in"
        " that one's surroundings, is a part of it: no object of its own, and taken into that box"
        " if it is of another class (1: keep all parts)",
        minimum=0.0,
        maximum=1.0,
    )
    max_detections: int = setting(
        100, "most boxes kept in one image, best first", minimum=1, maximum=256
    )
    moving_confidence: float = setting(
        0.0,
        "confidence of what moves and has no box, in front of a camera that stands still, as of an"
        " object of the class `moving object`, such as 0.5; 0: only what the network knows",
        minimum=0.0,
        maximum=1.0,
    )
    threads: int = setting(0, "CPU threads of the detector; 0: as many as torch takes", minimum=0)


# Least weight of a detection that may confirm a new object: who lies where it was is it, however
# uncertain; else each image would begin an uncertain object anew.
CONFIRMING_CONFIDENCE = 0.6


@dataclass(frozen=True)
class TrackerConfig:
    """ByteTrack association and the life of a track."""

    high_confidence: float = setting(
        0.25, "detections at or above it are matched first", minimum=0.0, maximum=1.0
    )
    new_track_confidence: float = setting(
        0.15, "lowest confidence that starts a track", minimum=0.0, maximum=1.0
    )
    match_iou: float = setting(
        0.1, "lowest IoU (times confidence) of a first match", minimum=0.0, maximum=1.0
    )
    low_match_iou: float = setting(
        0.3, "lowest IoU of a match with a low-confidence detection", minimum=0.0, maximum=1.0
    )
    unconfirmed_match_iou: float = setting(
        0.3,
        f"lowest IoU (times confidence, at least {CONFIRMING_CONFIDENCE})"
        " that confirms a new track",
        minimum=0.0,
        maximum=1.0,
    )
    lifetime: float = setting(1.5, "seconds a lost track is remembered", minimum=0.0)
    max_gap: float = setting(
        2.0, "a pause between images longer than this many seconds starts a new epoch", minimum=0.0
    )
    camera_motion: str = setting(
        "static",
        "static: the camera stands still; compensate: it moves, which is measured on the background"
        " and taken out of association and speeds",
        choices=("static", "compensate"),
    )


@dataclass(frozen=True)
class FeatureConfig:
    """RoI features from the detector's FPN maps, and kinematics."""

    roi_samples: int = setting(2, "RoIAlign sampling points a bin and axis", minimum=1, maximum=8)
    roi_bins: int = setting(7, "RoIAlign bins a side before the mean", minimum=1, maximum=14)
    grid: int = setting(
        0,
        "cells a side of the RoI grid kept for learned pooling; 0: GAP only",
        minimum=0,
        maximum=7,
    )
    velocity_span: float = setting(
        1.0, "seconds of a track that its velocity is fitted on", minimum=0.0
    )


@dataclass(frozen=True)
class WindowConfig:
    """Track buffers."""

    length: int = setting(16, "observations T in a window", minimum=2, maximum=256)
    hop: int = setting(
        1, "a track's window is emitted every so many frames", minimum=1, maximum=256, live=True
    )
    min_observations: int = setting(
        1, "observations a track needs before its first window", minimum=1, maximum=256
    )
    max_age: float = setting(
        2.0, "seconds without an observation after which a track's buffer is dropped", minimum=0.0
    )
    max_tracks: int = setting(
        256, "most tracks buffered; the least recently seen goes first", minimum=1, maximum=4096
    )


@dataclass(frozen=True)
class ScorerConfig:
    """Fusion, smoothing, threshold and events; what an artifact holds is used where unset."""

    smoothing: float = setting(
        1.0,
        "time constant in seconds of the moving average along a track"
        " (1.0 at 10 Hz is a weight of 0.9 on the past)",
        minimum=0.0,
        live=True,
    )
    inherit_within: float = setting(
        2.0,
        "seconds for which who appears where a lost object is expected takes its average over;"
        " 0: nobody does",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    network_hop: int = setting(
        16,  # the length of a window: the network sees each observation once
        "every so many windows of a track go through the network of a temporal MAE, which keeps its"
        " say in between; cues speak every time",
        minimum=1,
        maximum=256,
        live=True,
    )
    threshold: float = setting(
        float("nan"), "score that counts as anomalous; NaN: the artifact's own", live=True
    )
    event_start: float = setting(
        0.3, "seconds an object must be anomalous before its event starts", minimum=0.0, live=True
    )
    event_end: float = setting(
        1.0,
        "seconds an object must be normal or gone before its event ends",
        minimum=0.0,
        live=True,
    )


@dataclass(frozen=True)
class CalibrationConfig:
    """How normal footage is divided and the threshold found; used when a model is fitted."""

    calibration_share: float = setting(
        0.2, "share of the clips that scales the terms and sets the threshold", minimum=0.0
    )
    check_share: float = setting(
        0.2, "share of the clips that the threshold is checked on", minimum=0.0
    )
    rule: str = setting("evt", "threshold rule", choices=("evt", "percentile", "fixed", "adaptive"))
    q: float = setting(
        0.01, "probability that a normal track reaches the threshold", minimum=1e-9, maximum=0.5
    )
    value: float = setting(3.0, "threshold of the rule `fixed`, in deviations of normal footage")
    cap: float = setting(
        10.0,
        "largest magnitude of a standardised term, so that none drowns the others",
        minimum=1.0,
    )
    seed: int = setting(0, "seed of the division and of what is drawn", minimum=0)


@dataclass(frozen=True)
class PipelineConfig:
    """All stages from image to score."""

    detector: DetectorConfig = field(default_factory=DetectorConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    windows: WindowConfig = field(default_factory=WindowConfig)
    scorer: ScorerConfig = field(default_factory=ScorerConfig)


def validate(config: Any) -> None:
    """Check a config dataclass (and those nested in it) against the limits its fields declare.

    Raises ValueError naming the setting, the value it got and what is allowed.
    """
    for name, entry in config.__dataclass_fields__.items():
        value = getattr(config, name)
        if hasattr(value, "__dataclass_fields__"):
            validate(value)
            continue
        problem = _problem(value, entry.metadata)
        if problem:
            raise ValueError(f"{type(config).__name__}.{name}: got {value!r}, expected {problem}")


def _problem(value: Any, limits: Any) -> str:
    choices = limits.get("choices")
    if choices is not None and value not in choices:
        return "one of " + ", ".join(map(str, choices))
    if "minimum" in limits and not value >= limits["minimum"]:
        return f"at least {limits['minimum']}"
    if "maximum" in limits and not value <= limits["maximum"]:
        return f"at most {limits['maximum']}"
    return ""


def portable_settings(config: PipelineConfig) -> dict[str, Any]:
    """Return the settings that scores depend on, as JSON knows them; not those of the machine."""
    settings = asdict(config)
    for machine in ("weights", "weights_sha256", "backend", "device", "threads"):
        del settings["detector"][machine]
    for later in ("threshold", "event_start", "event_end"):
        del settings["scorer"][later]
    return settings


def differing_settings(recorded: Mapping[str, Any], config: PipelineConfig) -> list[str]:
    """Name the portable settings of `config` that are not those recorded, with both values.

    recorded: settings by stage. A stage it lacks is not compared; a setting it lacks is younger
    than the record and had its default then.
    """
    defaults = portable_settings(PipelineConfig())
    return [
        f"{stage}.{name}: got {value!r}, expected {held!r}"
        for stage, present in portable_settings(config).items()
        if stage in recorded
        for name, value in present.items()
        if value != (held := {**defaults[stage], **recorded[stage]}[name])
    ]
