"""The files of a finished evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.datasets.dataset import Clip
from tao_anomaly.datasets.ground_truth import write_region_tracks
from tao_anomaly.evaluation.details import to_json
from tao_anomaly.evaluation.report import Evaluation, Report
from tao_anomaly.media.score_table import ScoreTableWriter
from tao_anomaly.metrics.text_formats import write_detections


def write_report(folder: Path, report: Report) -> None:
    """Write ``<name>.json`` and ``<name>.md``, each complete or not at all."""
    for suffix, text in ((".json", report.to_json()), (".md", report.to_markdown())):
        write_atomically(folder / f"{report.name}{suffix}", text)


def write_clips(folder: Path, evaluation: Evaluation) -> None:
    """Write detections, ground truth, scores and details of all clips over an earlier run's."""
    clips, scored = evaluation.clips, evaluation.own
    made = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(made, ignore_errors=True)
    write_detections(made / "detections", {name: clip.detections for name, clip in scored.items()})
    for clip in clips:
        if clip.regions is not None:
            write_region_tracks(made / "ground_truth" / f"{clip.name}.txt", clip.regions)
    for clip in clips:
        if scored[clip.name].images:
            _write_scores(made / "scores" / f"{clip.name}.parquet", clip, evaluation)
    (made / "details.json").write_text(to_json(evaluation.details), encoding="utf-8", newline="\n")
    if folder.exists():
        if not (folder / "detections").is_dir():
            raise ValueError(f"{folder}: holds something else; choose another name or output")
        shutil.rmtree(folder)
    made.rename(folder)


def _write_scores(path: Path, clip: Clip, evaluation: Evaluation) -> None:
    images = evaluation.own[clip.name].images
    with ScoreTableWriter(
        path,
        class_names=evaluation.class_names,
        model_id=next(iter(images.values())).model_id,
        source=str(clip.source.resolve()),
        rate=clip.rate,
    ) as table:
        for frame, scores in images.items():
            table.write(frame, scores)


def summary(evaluation: Evaluation, output: Path) -> str:
    """Return the main table, where the rest is, and how to check it from the files alone."""
    report = evaluation.report
    folder = output / report.name
    lines = [report.main_table(), f"written: {folder}.md, {folder}.json and {folder}/"]
    frames = report.metrics[report.rows[0].name]["frames"]
    if frames == sum(clip.frame_count for clip in evaluation.clips):
        lines.append(
            "RBDC and TBDC from the files alone: python -m tao_anomaly.metrics.region_track"
            f" {folder / 'ground_truth'} {folder / 'detections'} --num-frames {frames}"
        )
    lines.append(f"as a page: python -m tao_anomaly.report {folder} output={folder}.html")
    return "\n".join(lines)
