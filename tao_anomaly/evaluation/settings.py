"""Settings of an evaluation, and what follows from them alone."""

from __future__ import annotations

import datetime
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from tao_anomaly.config import CalibrationConfig, PipelineConfig, setting
from tao_anomaly.datasets.dataset import DatasetError
from tao_anomaly.datasets.registry import DATASETS
from tao_anomaly.media.clip_file import ClipInfo
from tao_anomaly.weights import SHARED_VARIABLE


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of the command. One of model, detections and anomalies says what is evaluated.

    A model beside anomalies is the one that recorded them: it explains their events.
    """

    dataset: str = setting("", f"a dataset: {', '.join(DATASETS)}", choices=("", *DATASETS))
    root: str = setting(
        "", f"the dataset's folder, custom: its YAML file; empty: ${SHARED_VARIABLE}/data"
    )
    model: str = setting("", "folder of the artifact")
    detections: str = setting("", "in place of a model: folder of AED text files, one a test clip")
    threshold: float = setting(
        float("nan"), "score that counts as an alarm in `detections`; NaN: no operating point"
    )
    anomalies: str = setting(
        "", "in place of a model: recorded bag of AnomalyArray, or folder of bags named like clips"
    )
    topic: str | None = setting(None, "topic of the recorded bag if it has several")
    name: str = setting("", "name of the result; empty: dataset and what is evaluated")
    output: str = setting("results", "folder of the results")
    store: str = setting(
        "",
        "feature store; empty: outputs/features-<feature_id> for a model, otherwise none, and no"
        " baselines",
    )
    precision: str = setting(
        ClipInfo.precision, "of features to extract", choices=("float16", "float32")
    )
    limit: int = setting(0, "most clips of the test split, to try things; 0: all", minimum=0)
    baselines: bool = setting(True, "whether to add the rows of baselines and oracles")
    offline: bool = setting(True, "whether to add the row smoothed over past and future")
    pixels: str = setting(
        "fading",
        "what pixel maps are drawn from: ellipses that fade at the boxes' edges (fading), whole"
        " boxes (box), what moves inside each box (foreground, for a fixed camera), the model's own"
        " also from instance masks of a -seg detector or SAM 2 prompted by the boxes; none leaves"
        " the pixel metrics out",
        choices=("fading", "box", "foreground", "instance", "sam2", "none"),
    )
    mask_weights: str = setting("", "weights of SAM 2, or of the -seg detector if not the model's")
    mask_weights_sha256: str = setting(
        "", "SHA-256 of mask_weights; empty: they must be known ones; `any`: they are trusted"
    )
    date: str = setting("", "date on the card; empty: today")
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)

    @property
    def subject(self) -> Path:
        """What is evaluated; raises ValueError where that is not exactly one thing."""
        given = [text for text in (self.anomalies or self.model, self.detections) if text]
        if not self.dataset or len(given) != 1:
            raise ValueError(
                "give dataset=<name> and one of model=<artifact>, detections=<folder> and"
                f" anomalies=<bag>; got dataset={self.dataset or '(none)'} and {len(given)} of them"
            )
        return Path(given[0]).expanduser()

    @property
    def dataset_root(self) -> Path:
        """Where the dataset is; raises DatasetError where that is not known."""
        if self.root:
            return Path(self.root).expanduser()
        shared = os.environ.get(SHARED_VARIABLE)
        if self.dataset == "custom" or not shared:
            raise DatasetError(
                f"{self.dataset}: give root=<the dataset's folder, custom: its YAML file>, or set"
                f" {SHARED_VARIABLE} to a folder whose data/ has the dataset"
            )
        return Path(shared).expanduser() / "data"

    @property
    def result_name(self) -> str:
        """The result's name; raises ValueError where it is no plain file name."""
        name = self.name or f"{self.dataset}_{self.subject.resolve().name}"
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"got name {name!r}, expected a plain file name")
        return name

    @property
    def today(self) -> str:
        """The date on the card."""
        return self.date or datetime.datetime.now(datetime.UTC).date().isoformat()

    @property
    def alarm_threshold(self) -> float | None:
        """The threshold of given detections."""
        return None if math.isnan(self.threshold) else self.threshold
