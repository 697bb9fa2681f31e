"""The protocol card: under which conditions the numbers of a result were made."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tao_anomaly import __version__
from tao_anomaly.config import PipelineConfig, differing_settings
from tao_anomaly.datasets.dataset import Clip, Dataset, labels_sha256
from tao_anomaly.evaluation.baselines import FittedBaseline
from tao_anomaly.evaluation.measure import LabelSummary
from tao_anomaly.extraction import perception_settings
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.model.artifact import Artifact
from tao_anomaly.scoring.fitting import describe

Card = dict[str, str]

_PACKAGES = ("numpy", "scipy", "scikit-learn", "opencv-python", "torch", "ultralytics", "pyarrow")
_GIB = 2**30
METRICS: Card = {
    "RBDC, TBDC": "Ramachandra and Jones, WACV 2020: IoU >= 0.1, a tenth of a track's regions, area"
    " for 0 to 1 false positives a frame over the whole test set; equal scores are one point of the"
    " curve; boxes in inclusive pixels",
    "Frame metrics": "a frame scores as its highest box, -inf without one; micro: all frames"
    " together, no scaling by clip; macro: mean over the clips that hold both classes",
    "Pixel metrics": "all pixels of all frames together; -inf where nothing was found; AUPRO up to"
    " a false-positive rate of 0.3",
    "Pixel metrics, TAO variants": "as the public TAO code computes them: normal frames skipped by"
    " ground truth, each frame divided by its highest score; scores below 0 count as nothing found",
    "Operating point": "boxes at or above the calibrated threshold; region_f1: IoU >= 0.2, one to"
    " one; track_f1: 3 of 5 consecutive frames",
    "Objects without a score": "not reported: too few observations, or not tracked",
    "Smoothing": "causal in every row but those named offline smoothing",
    "Chosen on the test split": "nothing; F1-max by its definition takes the best threshold there",
}


def data_card(dataset: Dataset, test: Sequence[Clip], *, complete: bool) -> Card:
    """Describe the test clips and their labels."""
    summary = LabelSummary.of(test)
    labels = summary.anomalous_frames
    return {
        "Dataset": f"{dataset.name}{f' ({dataset.citation})' if dataset.citation else ''}",
        "Test clips": f"{summary.clips} clips, {summary.frames} frames"
        + ("" if complete else "; a part of the test split: not a result to compare"),
        "Labels": f"{'no' if labels is None else labels} anomalous frames,"
        f" {summary.regions} regions on {summary.tracks} tracks"
        f" in {summary.clips_with_regions} clips with region labels",
        "Labels' SHA-256": labels_sha256(test),
    }


def store_card(
    store: FeatureStore, names: Sequence[str], *, config: PipelineConfig, precision: str
) -> Card:
    """Describe the features of the test clips `names`."""
    infos = [store.infos[name] for name in names]
    skipped = sum(sum(info.skipped.values()) for info in infos)
    detector = perception_settings(config)["detector"]
    settings = ", ".join(f"{name} {value}" for name, value in detector.items())
    return {
        "Frames processed": f"{sum(info.frames for info in infos)}, {skipped} skipped",
        "Features": f"feature_id {store.feature_id}, stored as {precision}",
        "Detector": settings,
    }


def model_card(artifact: Artifact, config: PipelineConfig) -> Card:
    """Describe the model and what it was calibrated on."""
    calibration = artifact.calibration
    evidence = calibration.evidence
    clips = [_names(evidence.get(key, ())) for key in ("calibration_clips", "check_clips")]
    differing = differing_settings(artifact.config.get("fitted_with", {}), config)
    card = {
        "Model": f"{artifact.kind}, model_id {artifact.model_id}",
        "Scale and threshold": f"fitted on normal clips {clips[0]}, checked on {clips[1]};"
        f" {describe(calibration)}",
        "Causal smoothing": f"moving average along the track, {config.scorer.smoothing:g} s",
        "Windows": ", ".join(f"{key} {value}" for key, value in asdict(config.windows).items()),
    }
    if differing:
        card["Settings other than at the fit"] = "; ".join(differing)
    return card


def baseline_card(fitted: FittedBaseline) -> Card:
    """Describe what the baselines that learn were fitted on."""
    split = fitted.split
    return {
        "Fitted baselines": f"train split only: neighbours and scene of {_names(split.train)};"
        f" scale and threshold of {_names(split.calibration)}; checked on {_names(split.check)}"
    }


def environment_card(*, date: str, command: str) -> Card:
    """Describe when, how, with what and where the run was made."""
    return {
        "Date": date,
        "Command": f"`{command}`",
        "Versions": ", ".join([f"tao_anomaly {__version__}", *_versions()]),
        "Machine": machine(),
    }


def machine() -> str:
    """Return processor, cores, memory and system of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB memory, {platform.system()}"
        f" {platform.machine()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> list[str]:
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _names(clips: Sequence[str]) -> str:
    """Return clip names without the folders some are filed under."""
    return ", ".join(sorted(Path(clip).name for clip in clips)) or "(not stated)"
