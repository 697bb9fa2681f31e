"""The command ``benchmarks/evaluate.py``: its settings and what it writes.

``python benchmarks/evaluate.py dataset=ucsd_ped2 model=<artifact>``
``python benchmarks/evaluate.py dataset=custom root=yard.yaml model=<artifact>``
``python benchmarks/evaluate.py dataset=ucsd_ped2 detections=<folder of frame,x1,y1,x2,y2,score>``
``python benchmarks/evaluate.py dataset=custom root=yard.yaml anomalies=<recorded bag>``

Features are extracted into a store once and reused. Writes <output>/<name>.json and .md, and the
detections and the ground truth as AED text files, one a clip, to <output>/<name>/, with all scores
and curves for `python -m tao_anomaly.report`.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tao_anomaly.command_line import run
from tao_anomaly.evaluation.settings import EvaluateConfig

ERRORS = (ValueError, OSError)  # all errors of the package that have a remedy are of these


def main(published: Path) -> int:
    """Run the command line; `published` is the file of published results."""
    command = shlex.join(["python", "benchmarks/evaluate.py", *sys.argv[1:]])

    def body(config: EvaluateConfig) -> None:
        # Here, so that --help and wrong settings do not wait for torch.
        from tao_anomaly.evaluation.outputs import summary, write_clips, write_report
        from tao_anomaly.evaluation.runner import evaluate

        evaluation = evaluate(config, published=published, command=command)
        output = Path(config.output).expanduser()
        write_clips(output / evaluation.report.name, evaluation)
        write_report(output, evaluation.report)
        print(summary(evaluation, output))

    return run(EvaluateConfig, body, description=__doc__, errors=ERRORS)
