"""A tiny dataset with features written by hand, so that results can be computed on paper.

Images are 60x40. Test clip ``ride`` (10 frames): a bicycle on frames 0 to 9 (confidence 0.9), which
is anomalous on frames 4 to 7, and a person (0.8); ``walk`` (10 frames): the person alone. Of the
bicycle the detector's own boxes hold frame 4 only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tao_anomaly.config import CalibrationConfig, PipelineConfig
from tao_anomaly.evaluation.baselines import fit_baseline
from tao_anomaly.evaluation.command import main
from tao_anomaly.extraction import perception_settings
from tao_anomaly.features.kinematics import KINEMATICS
from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.media.clip_file import ClipInfo
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.media.source import stamp_of
from tao_anomaly.model.artifact import save_artifact
from tao_anomaly.scoring.cues import KIND
from tao_anomaly.structures import FeatureLayout, TrackFeatures, Tracks, TrackState

PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "published.yaml"
DATE = "date=2000-01-01"
SIZE = (40, 60)
LAYOUT = FeatureLayout(appearance=4, kinematics=len(KINEMATICS))
FEATURE_ID = "synthetic"
PERSON, BICYCLE = 0, 1
BICYCLE_BOX = (10, 5, 20, 15)  # by its outer edges
PERSON_BOX = (30, 20, 40, 40)
RATE = 10.0


@dataclass(frozen=True)
class Thing:
    """An object of an image. speed: image heights a second."""

    track: str
    class_id: int
    box: tuple[float, ...]
    confidence: float
    speed: float
    appearance: tuple[float, ...]


BICYCLE_THING = Thing("0-1", BICYCLE, BICYCLE_BOX, 0.9, 2.0, (9, 9, 9, 9))
PERSON_THING = Thing("0-2", PERSON, PERSON_BOX, 0.8, 0.1, (4, 0, 0, 0))


@dataclass(frozen=True)
class Bench:
    """Where the tiny dataset lies. root: its YAML file."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "data" / "tiny.yaml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def model(self) -> Path:
        return self.folder / "model"


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The dataset, its feature store and a model fitted on its train split."""
    made = Bench(tmp_path_factory.mktemp("bench"))
    write_dataset(made.root.parent)
    write_store(made.store)
    write_model(made)
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command with words; return status, standard output and error."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
        status = main(PUBLISHED)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def words(bench: Bench) -> tuple[str, ...]:
    """What every evaluation of the tiny dataset is told."""
    return ("dataset=custom", f"root={bench.root}", f"store={bench.store}", DATE)


@pytest.fixture
def results(run, words, bench: Bench, tmp_path: Path) -> Path:
    """Results of the model, all rows, under the name ``all``."""
    status, _, err = run(*words, f"model={bench.model}", f"output={tmp_path}", "name=all")
    assert status == 0, err
    return tmp_path


@pytest.fixture
def rows_of() -> Callable[..., dict[str, dict]]:
    """Read the metrics of every row of a result, by the row's name."""

    def read(results: Path, name: str = "all") -> dict[str, dict]:
        document = json.loads((results / f"{name}.json").read_text("utf-8"))
        return {row["name"]: row["metrics"] for row in document["rows"]}

    return read


def write_dataset(folder: Path) -> None:
    for name in ("walk", "ride", *(f"normal{i}" for i in range(6))):
        (folder / name).mkdir(parents=True)
        for i in range(10):
            cv2.imwrite(str(folder / name / f"{i:02d}.png"), np.full((*SIZE, 3), i, np.uint8))
    for name in ("walk", "ride"):
        (folder / f"{name}_masks").mkdir()
        for i in range(10):
            mask = np.zeros(SIZE, np.uint8)
            if name == "ride" and 4 <= i <= 7:
                mask[5:15, 10:20] = 255
            cv2.imwrite(str(folder / f"{name}_masks" / f"{i:02d}.png"), mask)
    (folder / "tiny.yaml").write_text(
        "name: tiny\nrate: 10\n"
        "train: [normal0, normal1, normal2, normal3, normal4, normal5]\n"
        "test: [{source: ride, masks: ride_masks}, {source: walk, masks: walk_masks}]\n"
    )


def image_of(things: list[Thing], index: int) -> TrackFeatures:
    boxes = np.array([t.box for t in things], np.float32).reshape(-1, 4)
    height = (boxes[:, 3] - boxes[:, 1]) / SIZE[0]
    width = (boxes[:, 2] - boxes[:, 0]) / SIZE[0]
    place = np.stack(
        [
            (boxes[:, 0] + boxes[:, 2]) / 2 / SIZE[1],
            (boxes[:, 1] + boxes[:, 3]) / 2 / SIZE[0],
            np.log(width),
            np.log(height),
            np.array([t.speed for t in things]),
            *np.zeros((2 + DIRECTIONS, len(things))),
        ],
        axis=1,
    )
    appearance = np.array([t.appearance for t in things]).reshape(-1, LAYOUT.appearance)
    tracks = Tracks(
        ids=tuple(t.track for t in things),
        boxes=boxes,
        scores=np.array([t.confidence for t in things], np.float32),
        class_ids=np.array([t.class_id for t in things], np.int64),
        ages=np.full(len(things), index, np.int64),
        states=np.full(len(things), int(TrackState.TRACKED), np.int64),
    )
    features = np.concatenate([appearance, place], axis=1).astype(np.float32)
    return TrackFeatures(stamp_of(index, RATE), 0, SIZE, tracks, features, FEATURE_ID)


def images_of_test_clip(clip: str) -> list[TrackFeatures]:
    things = [BICYCLE_THING, PERSON_THING] if clip == "ride" else [PERSON_THING]
    return [image_of(things, i) for i in range(10)]


def normal_images(seed: int) -> list[TrackFeatures]:
    rng = np.random.default_rng(seed)
    return [
        image_of(
            [
                replace(
                    PERSON_THING,
                    track=f"0-{n}",
                    speed=float(rng.uniform(0.05, 0.15)),
                    appearance=tuple(rng.normal(PERSON_THING.appearance, 0.5)),
                )
                for n in range(4)
            ],
            i,
        )
        for i in range(10)
    ]


def write_store(folder: Path) -> None:
    store = FeatureStore(folder)
    clips = {f"normal{i}": normal_images(i) for i in range(6)}
    clips |= {name: images_of_test_clip(name) for name in ("ride", "walk")}
    for name, images in clips.items():
        info = ClipInfo(
            dataset="tiny",
            clip=name,
            split="train" if name.startswith("normal") else "test",
            rate=RATE,
            feature_id=FEATURE_ID,
            layout=LAYOUT,
            settings=perception_settings(PipelineConfig()),
            class_names={PERSON: "person", BICYCLE: "bicycle"},
        )
        with store.writer(info) as writer:
            for index, image in enumerate(images):
                writer.add(index, image)
    boxes = folder / "boxes" / "tiny"
    boxes.mkdir(parents=True)
    found = np.array([BICYCLE_BOX], np.float32)
    np.savez(boxes / "ride.npz", frames=np.array([4]), boxes=found)
    np.savez(boxes / "walk.npz", frames=np.zeros(0, np.int64), boxes=np.zeros((0, 4), np.float32))


def write_model(bench: Bench) -> None:
    config = PipelineConfig()
    fitted = fit_baseline(
        {f"tiny/normal{i}": normal_images(i) for i in range(6)},
        layout=LAYOUT,
        feature_id=FEATURE_ID,
        windows=config.windows,
        scorer=config.scorer,
        calibration=CalibrationConfig(),
    )
    save_artifact(
        bench.model,
        kind=KIND,
        feature_id=FEATURE_ID,
        layout=LAYOUT,
        config=fitted.model.config(),
        tensors=fitted.model.tensors(),
        calibration=fitted.scorer.calibration,
    )
