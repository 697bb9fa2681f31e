"""An evaluation from dataset and predictions to the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tao_anomaly.datasets.dataset import TEST, TRAIN, Clip, Dataset
from tao_anomaly.datasets.registry import load_dataset
from tao_anomaly.detection.detector import Detector
from tao_anomaly.detection.ultralytics_sam import Sam2
from tao_anomaly.evaluation.baselines import (
    BoxSpeed,
    ClassRule,
    DetectorOracle,
    NearestAppearance,
    Part,
    RandomScores,
    StoredClips,
    TrackedOracle,
    fit_baseline,
)
from tao_anomaly.evaluation.details import details
from tao_anomaly.evaluation.evidence import event_evidence
from tao_anomaly.evaluation.features import EvaluationStore
from tao_anomaly.evaluation.foreground import Foreground
from tao_anomaly.evaluation.measure import PixelRows, box_metrics
from tao_anomaly.evaluation.pixel_map import (
    BoxFill,
    FadingBox,
    InstanceMasks,
    Outliner,
    Sam2Masks,
)
from tao_anomaly.evaluation.protocol import (
    METRICS,
    Card,
    baseline_card,
    data_card,
    environment_card,
    model_card,
    store_card,
)
from tao_anomaly.evaluation.recorded import read_recordings
from tao_anomaly.evaluation.report import Evaluation, Report, read_published
from tao_anomaly.evaluation.rows import (
    BASELINE,
    ORACLE,
    OWN,
    BaselineRows,
    Contributor,
    GivenRows,
    ModelRows,
)
from tao_anomaly.evaluation.scored_clip import ScoredClip, read_clips
from tao_anomaly.evaluation.settings import EvaluateConfig
from tao_anomaly.media.feature_store import FeatureStore
from tao_anomaly.media.score_table import table_of
from tao_anomaly.model.artifact import Artifact, load_artifact
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.scoring.window_model import build_window_model
from tao_anomaly.visualization.findings import all_events
from tao_anomaly.visualization.recording import Recording
from tao_anomaly.weights import find_weights

_EXPLAINED = 60  # events, the highest
_FEWEST_TRAIN_CLIPS = 3  # what a split needs, also with a limit


def evaluate(config: EvaluateConfig, *, published: Path, command: str) -> Evaluation:
    """Evaluate what `config` names; raises ValueError or OSError with the remedy."""
    name = config.result_name
    artifact = load_artifact(Path(config.model).expanduser()) if config.model else None
    folder = _store_folder(config, artifact)
    cache = folder / "labels" / config.dataset if folder else None
    dataset = load_dataset(config.dataset, config.dataset_root, cache=cache)
    test = dataset.split(TEST)[: config.limit or None]
    if all(clip.labels is None for clip in test):
        raise ValueError(
            f"{dataset.name}: no test clip has labels, so nothing can be measured; label some, or"
            " score footage with python -m tao_anomaly.infer"
        )
    complete = len(test) == len(dataset.split(TEST))
    # Read in any case, so that a wrong entry shows before the work; a part compares with nothing.
    published_rows = read_published(published, dataset.name)[: None if complete else 0]
    card = data_card(dataset, test, complete=complete)
    store = None
    if folder is not None:
        store, facts = _prepare(config, folder, dataset, test, artifact)
        card |= facts
    if artifact is None or config.anomalies:
        own, facts = _given(config, test, artifact)
    else:
        own, facts = _own_model(config, artifact)
    card |= facts
    contributors = [own]
    if store is not None and config.baselines:
        baselines, facts = _baselines(config, store, dataset)
        contributors += baselines
        card |= facts
    rows = [row for contributor in contributors for row in contributor.rows]
    outliner = _outliner(config)
    pixels = PixelRows(
        [row.name for row in rows],
        outliner=outliner,
        outlined=[row.name for row in rows if outliner.every_row or row.group == OWN],
    )
    scored = _score(config, test, contributors, store, pixels)
    found = pixels.compute()
    metrics = {row: {**box_metrics(test, clips), **found[row]} for row, clips in scored.items()}
    card |= METRICS | _maps_card(config, outliner)
    card |= environment_card(date=config.today, command=command)
    report = Report(name, dataset.name, rows, metrics, published_rows, card)
    shown = details(test, scored, artifact.calibration if artifact else None)
    if store is not None and artifact is not None:
        shown["evidence"] = _evidence(config, store, dataset, artifact, scored[rows[0].name])
    return Evaluation(
        report=report,
        clips=test,
        own=scored[rows[0].name],
        class_names={} if store is None else store.class_names,
        details=shown,
    )


def _evidence(
    config: EvaluateConfig,
    store: EvaluationStore,
    dataset: Dataset,
    artifact: Artifact,
    own: dict[str, ScoredClip],
) -> list[dict[str, Any]]:
    """Return why the highest events of the model's own row were some."""
    clips = {clip.name: clip for clip in dataset.split(TEST) if clip.name in own}
    recordings = [
        Recording(
            name=name,
            table=table_of(own[name].images, class_names=store.class_names, rate=clip.rate),
            rate=clip.rate,
            frame_count=clip.frame_count,
        )
        for name, clip in clips.items()
    ]
    return event_evidence(
        all_events(recordings, config.pipeline.scorer)[:_EXPLAINED],
        clips=clips,
        train=_train_clips(config, dataset),
        store=store,
        model=build_window_model(artifact),
        windows=config.pipeline.windows,
    )


def _score(
    config: EvaluateConfig,
    test: Sequence[Clip],
    contributors: Sequence[Contributor],
    store: EvaluationStore | None,
    pixels: PixelRows,
) -> dict[str, dict[str, ScoredClip]]:
    """Return the scored clips of each row, and feed `pixels` if they are asked for."""
    scored: dict[str, dict[str, ScoredClip]] = {}
    for clip in tqdm(test, desc="scoring", unit="clip"):
        features = store.read(clip) if store is not None else None
        of_clip: dict[str, ScoredClip] = {}
        for contributor in contributors:
            of_clip |= contributor.score(clip, features)
        if config.pixels != "none":
            pixels.update(clip, of_clip)
        for row, found in of_clip.items():
            scored.setdefault(row, {})[clip.name] = found
    return scored


def _store_folder(config: EvaluateConfig, artifact: Artifact | None) -> Path | None:
    if config.store:
        return Path(config.store).expanduser()
    return None if artifact is None else Path("outputs") / f"features-{artifact.feature_id}"


def _given(
    config: EvaluateConfig, test: Sequence[Clip], artifact: Artifact | None
) -> tuple[Contributor, Card]:
    """Return the row of predictions made elsewhere; artifact: the model that is to have made them.

    Raises ValueError where another one did.
    """
    if config.anomalies:
        recordings = read_recordings(config.subject, test, topic=config.topic)
        missing = sum(recording.missing for recording in recordings.values())
        models = sorted({i for recording in recordings.values() for i in recording.model_ids})
        if artifact is not None and models != [artifact.model_id]:
            raise ValueError(
                f"{config.subject}: recorded by model_id {', '.join(models)}, but {config.model} is"
                f" {artifact.model_id}; give the model that recorded it, or none"
            )
        clips = {name: recording.clip for name, recording in recordings.items()}
        row = GivenRows(clips, name="recorded anomalies", note="as the messages say")
        return row, (model_card(artifact, config.pipeline) if artifact else {}) | {
            "Recorded by": f"model_id {', '.join(models)}",
            "Frames without a message": str(missing),
        }
    lengths = {clip.name: clip.frame_count for clip in test}
    clips = read_clips(
        config.subject, lengths, others=config.limit > 0, threshold=config.alarm_threshold
    )
    name = config.subject.resolve().name
    return GivenRows(clips, name=name, note="given as AED text files"), {
        "Predictions": f"{sum(len(clip.detections) for clip in clips.values())} boxes given as AED"
        " text files; whether they are causal is not known",
    }


def _prepare(
    config: EvaluateConfig,
    folder: Path,
    dataset: Dataset,
    test: Sequence[Clip],
    artifact: Artifact | None,
) -> tuple[EvaluationStore, Card]:
    """Return the store with all clips that are needed, extracting those it lacks."""
    store = EvaluationStore(folder, dataset=dataset.name, config=config.pipeline)
    feature_id = artifact.feature_id if artifact else FeatureStore(folder).feature_id
    train = _train_clips(config, dataset) if config.baselines else ()
    store.prepare([*test, *train], feature_id=feature_id, precision=config.precision)
    names = [store.name(clip.name) for clip in test]
    card = store_card(store.features, names, config=config.pipeline, precision=config.precision)
    return store, card


def _train_clips(config: EvaluateConfig, dataset: Dataset) -> Sequence[Clip]:
    if TRAIN not in dataset.splits:
        return ()
    most = max(config.limit, _FEWEST_TRAIN_CLIPS) if config.limit else None
    return dataset.split(TRAIN)[:most]


def _own_model(config: EvaluateConfig, artifact: Artifact) -> tuple[Contributor, Card]:
    rows = ModelRows(
        name=f"{artifact.kind} (this model)",
        group=OWN,
        scorer=Scorer.from_artifact(artifact, config=config.pipeline.scorer),
        windows=config.pipeline.windows,
        offline=config.offline,
    )
    return rows, model_card(artifact, config.pipeline)


def _baselines(
    config: EvaluateConfig, store: EvaluationStore, dataset: Dataset
) -> tuple[list[Contributor], Card]:
    simple = BaselineRows([ClassRule(), BoxSpeed(store.features.layout)], group=BASELINE)
    chance = BaselineRows([RandomScores(config.calibration.seed)], group=BASELINE)
    oracles = BaselineRows([TrackedOracle(), DetectorOracle()], group=ORACLE)
    train = [store.name(clip.name) for clip in _train_clips(config, dataset)]
    if not train:
        return [simple, chance, oracles], {"Fitted baselines": "none: no train split"}
    fitted = fit_baseline(
        Part(StoredClips(store.features), train),
        layout=store.features.layout,
        feature_id=store.features.feature_id,
        windows=config.pipeline.windows,
        # A threshold given by hand is the model's.
        scorer=replace(config.pipeline.scorer, threshold=float("nan")),
        calibration=config.calibration,
        camera_motion=config.pipeline.tracker.camera_motion,
    )
    together = ModelRows(
        name="speed + nearest neighbours, EWMA",
        group=BASELINE,
        scorer=fitted.scorer,
        windows=config.pipeline.windows,
        offline=False,
    )
    learnt = BaselineRows([NearestAppearance(fitted.model)], group=BASELINE)
    return [simple, learnt, together, chance, oracles], baseline_card(fitted)


def _maps_card(config: EvaluateConfig, outliner: Outliner) -> dict[str, str]:
    if config.pixels == "none":
        return {}
    others = "" if outliner.every_row else f"; of the other rows: {FadingBox.note}"
    return {"Pixel maps": outliner.note + others}


def _outliner(config: EvaluateConfig) -> Outliner:
    detector, digest = config.pipeline.detector, config.mask_weights_sha256
    if config.pixels == "sam2":
        path = Path(config.mask_weights).expanduser()
        return Sam2Masks(Sam2.load(path, sha256=digest, device=detector.device))
    if config.pixels == "instance":
        if config.mask_weights:
            path = find_weights(config.mask_weights, sha256=digest, setting="mask_weights_sha256")
            detector = replace(detector, weights=str(path), weights_sha256=digest)
        return InstanceMasks(Detector.from_config(detector))
    if config.pixels == "foreground":
        return Foreground()
    return BoxFill() if config.pixels == "box" else FadingBox()
