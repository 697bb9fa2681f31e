"""The demo that needs nothing from outside: rendered footage, a trained model, the ROS 2 graph.

Every stage is a command that a user could type, run from the checkout.
"""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tao_anomaly.config import DetectorConfig
from tao_anomaly.datasets.dataset import TRAIN
from tao_anomaly.datasets.plaza.dataset import video_file
from tao_anomaly.nodes.demo.live_view import LiveView
from tao_anomaly.nodes.demo.outcome import Outcome
from tao_anomaly.nodes.demo.stages import (
    Stage,
    StageError,
    StageRunner,
    detector_arguments,
    detector_words,
    remove,
    run_stage,
)
from tao_anomaly.visualization.animation import write_animation
from tao_anomaly.weights import find_weights

ROOT = Path(__file__).resolve().parents[3]
_PACKAGED = DetectorConfig(weights="plaza")
_SCENE = "test_001"  # Plaza's name of the only clip with anomalies
# What footage, features and models are made by, for they are made anew when it changes.
_MADE_BY = (
    "tao_anomaly/*.py",
    "tao_anomaly/[!env]*/**/*.py",  # not those of evaluation, nodes and visualization
    "training/*.py",
    "config/training/**/*.yaml",
)


@dataclass(frozen=True)
class Footage:
    """Settings of Plaza: normal clips, and a scene that has every kind of anomaly once."""

    train_clips: int = 8
    seconds: float = 24.0
    test_clips: int = 1
    test_seconds: float = 60.0
    anomalies: int = 9
    rate: float = 10.0
    width: int = 640
    height: int = 360


@dataclass(frozen=True)
class PlazaDemo:
    """What the demo does. fast: cues, which need no training, in place of the temporal MAE.

    epochs: of the training. detector: its weights and their SHA-256.
    """

    folder: Path = Path("outputs/demo")
    fast: bool = False
    detector: DetectorConfig = _PACKAGED
    epochs: int = 15
    footage: Footage = field(default_factory=Footage)

    @property
    def made_with(self) -> dict[str, Any]:
        """What footage, features and models follow from; raises WeightsError."""
        weights = find_weights(
            self.detector.weights, sha256=self.detector.weights_sha256, setting="WEIGHTS_SHA256"
        ).read_bytes()
        return {
            "footage": asdict(self.footage),
            "epochs": self.epochs,
            "weights": hashlib.sha256(weights).hexdigest(),
            "code": _digest_of_code(),
        }

    @property
    def model(self) -> Path:
        """Folder of the model that the graph uses."""
        return self.folder / "cues" if self.fast else self.folder / "training" / "artifact"

    def stages(self) -> list[Stage]:
        """Return all stages, in order."""
        return [self._film(), self._extract(), self._fit(), *self._scoring()]

    def _film(self) -> Stage:
        words = [f"{key}={value}" for key, value in asdict(self.footage).items()] + ["workers=2"]
        return Stage(
            "footage",
            "film normal footage, and a scene with anomalies",
            _python("-m", "tao_anomaly.datasets.plaza", f"output={self._footage}", *words),
            self._footage,
        )

    def _extract(self) -> Stage:
        words = ["dataset=plaza", f"root={self._footage}", f"splits=[{TRAIN}]"]
        words += [f"output={self._store}", *detector_words(self.detector)]
        return Stage(
            "features",
            "detect and track what is in the normal footage, and keep its features",
            _python("training/extract.py", *words),
            self._store,
            resumes=True,
        )

    def _fit(self) -> Stage:
        if self.fast:
            words = [f"store={self._store}", f"output={self.model}"]
            words += detector_words(self.detector)
            command = _python("-m", "tao_anomaly.fit", *words)
            return Stage("cues", "fit a model that needs no training", command, self.model)
        words = ["--config-name", "fast", f"data.store={self._store}"]
        words += [f"output={self.model.parent}", f"train.epochs={self.epochs}", "logger=none"]
        return Stage(
            "training",
            "train a small temporal MAE on them, and calibrate it",
            _python("training/train.py", *words),
            self.model,
            folder=self.model.parent,  # with the checkpoints it goes on from
            resumes=True,
        )

    def _scoring(self) -> list[Stage]:
        words = ["--model", str(self.model), *detector_arguments(self.detector)]
        words += ["--source", str(video_file(self._footage, _SCENE)), "--lock-step"]
        words += ["--record", str(self.video)]
        graph = Stage(
            "graph",
            "run the ROS 2 graph on the scene, which no stage before has seen",
            _python("-m", "tao_anomaly.nodes.graph", *words),
            self._bag,
            kept=False,
            log=self.folder / "graph.log",
        )
        words = ["dataset=plaza", f"root={self._footage}", f"anomalies={self._bag}"]
        words += [f"model={self.model}", f"store={self._store}", f"name={_SCENE}"]
        words += [f"output={self._results}", *detector_words(self.detector)]
        words += ["pixels=none"]  # a third of the time, and objects are what counts here
        evaluation = Stage(
            "evaluation",
            "compare what the graph has said with the truth",
            _python("benchmarks/evaluate.py", *words),
            self._results / f"{_SCENE}.json",
            kept=False,
            log=self.folder / "evaluation.log",
        )
        words = [str(self._results / _SCENE), f"output={self.report}", "title=Plaza"]
        report = Stage(
            "report",
            "write the report",
            _python("-m", "tao_anomaly.report", *words),
            self.report,
            kept=False,
        )
        return [graph, evaluation, report]

    @property
    def video(self) -> Path:
        """The annotated video."""
        return self.folder / "overlay.mp4"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    @property
    def animation(self) -> Path:
        """The video's best part, as README shows it."""
        return self.folder / "demo.webp"

    @property
    def picture(self) -> Path:
        """An image of it."""
        return self.folder / "demo.jpg"

    @property
    def _footage(self) -> Path:
        return self.folder / "footage"

    @property
    def _store(self) -> Path:
        return self.folder / "features"

    @property
    def _bag(self) -> Path:
        return self.folder / "scores"

    @property
    def _results(self) -> Path:
        return self.folder / "results"

    def run(self) -> None:
        """Run all stages and say what came of them; raises StageError, ValueError or OSError."""
        self._check()
        stages = self.stages()
        runner = StageRunner(self.folder, self.made_with, total=len(stages))
        for stage in stages:
            runner.run(stage, self._watch if stage.name == "graph" else run_stage)
        began = time.monotonic()
        outcome = Outcome.read(self._results, _SCENE)
        write_animation(self.video, self.animation, self.picture, outcome.events)
        runner.note("animation", time.monotonic() - began)
        print(f"\n{outcome.text()}\n\n{runner.table()}\n")
        for what, path in (
            ("report", self.report),
            ("annotated video", self.video),
            ("its best part", self.animation),
        ):
            print(f"{what + ':':17}{path}")

    def _watch(self, stage: Stage) -> None:
        remove(self.video)
        images = round(self.footage.test_seconds * self.footage.rate)
        with LiveView(images=images, bag=self._bag) as view:
            run_stage(stage)
        if not view.seen:
            raise StageError(f"no scores have come; what the nodes said is in {stage.log}")

    def _check(self) -> None:
        needed = [ROOT / "training" / "train.py", ROOT / "benchmarks" / "evaluate.py"]
        missing = [str(path) for path in needed if not path.is_file()]
        if missing:
            raise StageError(f"{', '.join(missing)}: not found; run the demo from a checkout")


def _python(*words: str) -> tuple[str, ...]:
    return sys.executable, *words


def _digest_of_code() -> str:
    digest = hashlib.sha256()
    for pattern in _MADE_BY:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()
