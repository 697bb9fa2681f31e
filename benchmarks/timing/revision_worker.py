"""One revision of the package in a process of its own: image numbers in, seconds out.

``python revision_worker.py <model> <source> <weights> <backend>``, with that revision in
``PYTHONPATH``. It uses only what all revisions have.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tao_anomaly.config import DetectorConfig, PipelineConfig
from tao_anomaly.media.source import open_source
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.pipeline import Pipeline


def main() -> None:
    """Take the images whose numbers come in through all stages."""
    model, source, weights, backend = sys.argv[1:]
    config = PipelineConfig(detector=DetectorConfig(weights=weights, backend=backend))
    pipeline = Pipeline.from_config(config, artifact=load_artifact(Path(model)))
    frames = list(open_source(source))
    print(len(frames), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        pipeline.process(frames[int(line)])
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
