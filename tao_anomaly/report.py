"""Show scores as one HTML page that needs nothing from outside.

``python -m tao_anomaly.report <results folder, scores.parquet or recorded bag> output=page.html``

The results folder is that of an evaluation (results/<name>) or of ``tao_anomaly.infer``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tao_anomaly.atomic_file import write_atomically
from tao_anomaly.command_line import run
from tao_anomaly.config import ScorerConfig, setting
from tao_anomaly.media.source import SourceError
from tao_anomaly.model.artifact import ArtifactError, load_artifact
from tao_anomaly.visualization.findings import all_events
from tao_anomaly.visualization.recording import (
    is_bag,
    recording_of_bag,
    recording_of_table,
    recordings_of_results,
)
from tao_anomaly.visualization.report_page import ReportContent, render_report


@dataclass(frozen=True)
class ReportConfig:
    """Settings of the command."""

    source: str = setting(
        "", "results folder of an evaluation or of infer, a scores.parquet, or a recorded bag"
    )
    output: str = setting("report.html", "file of the page")
    title: str = setting("", "title of the page; empty: the name of the source")
    model: str = setting("", "folder of the artifact, for its calibration where results lack it")
    topic: str | None = setting(None, "topic of the recorded bag if it has several")
    videos: int = setting(
        40, "short videos of events held in the page, the highest", minimum=0, maximum=500
    )
    figures: str = setting("", "folder for the timelines and curves as PNG and SVG; empty: none")
    scorer: ScorerConfig = field(default_factory=ScorerConfig)


def load_content(config: ReportConfig) -> ReportContent:
    """Read what `config` names; raises ValueError or OSError with the remedy."""
    source = Path(config.source).expanduser()
    if not config.source or not source.exists():
        raise SourceError(
            f"{config.source or 'no source'}: not found; give the results folder of an evaluation"
            " or of infer, a scores.parquet or a recorded bag"
        )
    known: dict[str, Any] = {"title": config.title or source.stem, "scorer": config.scorer}
    if config.model:
        known["calibration"] = asdict(load_artifact(config.model).calibration)
    if is_bag(source):
        return ReportContent(recordings=[recording_of_bag(source, topic=config.topic)], **known)
    if (source / "details.json").is_file():
        recordings, details = recordings_of_results(source)
        results = json.loads(source.with_name(f"{source.name}.json").read_text("utf-8"))
        known = {"calibration": details["calibration"]} | known
        return ReportContent(recordings=recordings, details=details, results=results, **known)
    table = source / "scores.parquet" if source.is_dir() else source
    if not table.is_file():
        raise SourceError(
            f"{source}: holds neither details.json nor scores.parquet; evaluate or score again"
        )
    return ReportContent(recordings=[recording_of_table(table)], **known)


def write_report(config: ReportConfig) -> Path:
    """Write the page, complete or not at all."""
    content = load_content(config)
    events = all_events(content.recordings, config.scorer)
    page = render_report(content, events=events, videos=config.videos)
    path = Path(config.output).expanduser()
    if config.figures:
        from tao_anomaly.visualization.paper_figures import write_figures

        folder = Path(config.figures).expanduser()
        write_figures(folder, content.recordings, events, content.details.get("curves", {}))
    write_atomically(path, page)
    return path


def body(config: ReportConfig) -> None:
    """Run the command."""
    path = write_report(config)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def main() -> int:
    """Run the command line; a first word without ``=`` is the source."""
    if len(sys.argv) > 1 and "=" not in sys.argv[1] and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"source={sys.argv[1]}"
    errors = (SourceError, ArtifactError, ValueError, OSError)
    return run(ReportConfig, body, description=__doc__, errors=errors)


if __name__ == "__main__":
    sys.exit(main())
