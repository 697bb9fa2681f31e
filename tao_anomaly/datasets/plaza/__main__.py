"""Generate Plaza: ``python -m tao_anomaly.datasets.plaza output=<folder> [key=value ...]``."""

from __future__ import annotations

import sys

from tao_anomaly.command_line import run
from tao_anomaly.datasets.dataset import DatasetError
from tao_anomaly.datasets.plaza.generate import PlazaConfig, generate

if __name__ == "__main__":
    sys.exit(run(PlazaConfig, generate, description=__doc__, errors=(DatasetError, OSError)))
