from __future__ import annotations

import json
import math
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

import pytest

from tao_anomaly import config as settings
from tao_anomaly.config import (
    CalibrationConfig,
    DetectorConfig,
    PipelineConfig,
    ScorerConfig,
    TrackerConfig,
    WindowConfig,
    differing_settings,
    portable_settings,
    setting,
    validate,
)

CLASSES = [
    value
    for value in vars(settings).values()
    if is_dataclass(value) and isinstance(value, type) and value is not PipelineConfig
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_setting_is_documented_and_its_default_allowed(kind: type[Any]) -> None:
    validate(kind())
    for entry in fields(kind):
        assert len(entry.metadata["description"]) > 10, entry.name
        minimum, maximum = (entry.metadata.get(key) for key in ("minimum", "maximum"))
        if minimum is not None and maximum is not None:
            assert minimum < maximum


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (WindowConfig(length=1), r"WindowConfig\.length: got 1, expected at least 2"),
        (WindowConfig(length=257), r"WindowConfig\.length: got 257, expected at most 256"),
        (DetectorConfig(backend="magic"), r"backend: got 'magic', expected one of auto, openv"),
        (DetectorConfig(confidence=math.nan), r"confidence: got nan, expected at least 0\.001"),
        (CalibrationConfig(q=0.0), r"CalibrationConfig\.q: got 0\.0, expected at least 1e-09"),
        (replace(PipelineConfig(), windows=WindowConfig(hop=0)), r"WindowConfig\.hop: got 0"),
    ],
)
def test_a_value_out_of_bounds_is_named(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate(config)


@pytest.mark.parametrize(("bound", "beyond"), [(2, 1), (256, 257)])
def test_bounds_are_inclusive(bound: int, beyond: int) -> None:
    validate(WindowConfig(length=bound))
    with pytest.raises(ValueError, match=f"got {beyond}"):
        validate(WindowConfig(length=beyond))


def test_nan_is_a_threshold() -> None:
    config = ScorerConfig(threshold=math.nan, smoothing=0.0)
    validate(config)
    with pytest.raises(ValueError, match="smoothing: got -1"):
        validate(replace(config, smoothing=-1.0))


def test_defaults_that_are_lists_are_not_shared() -> None:
    first, second = (setting([1], "numbers").default_factory() for _ in range(2))
    assert first == second == [1]
    assert first is not second


def test_settings_of_the_machine_are_not_part_of_a_model() -> None:
    there = replace(
        PipelineConfig(),
        detector=DetectorConfig(weights="/elsewhere/yolov8n.pt", device="cuda", threads=8),
        scorer=ScorerConfig(threshold=3.0),
    )
    portable = portable_settings(there)
    assert portable == portable_settings(PipelineConfig())
    assert portable["detector"]["input_size"] == DetectorConfig().input_size
    assert json.loads(json.dumps(portable, allow_nan=False)) == portable
    changed = replace(there, windows=WindowConfig(length=8))
    assert portable_settings(changed) != portable
    assert asdict(there)["detector"]["device"] == "cuda"


def test_differing_settings_are_named_with_both_values() -> None:
    recorded = json.loads(json.dumps(portable_settings(PipelineConfig())))
    assert differing_settings(recorded, PipelineConfig()) == []
    del recorded["tracker"]["camera_motion"]  # younger than the record: it was static
    del recorded["windows"]  # not known
    present = replace(
        PipelineConfig(),
        tracker=TrackerConfig(camera_motion="compensate"),
        windows=WindowConfig(length=8),
        scorer=ScorerConfig(smoothing=0.5, event_start=9.0),
    )
    assert differing_settings(recorded, present) == [
        "tracker.camera_motion: got 'compensate', expected 'static'",
        "scorer.smoothing: got 0.5, expected 1.0",
    ]
