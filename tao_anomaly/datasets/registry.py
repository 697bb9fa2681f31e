"""Datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tao_anomaly.datasets.avenue import load_avenue
from tao_anomaly.datasets.custom import load_custom
from tao_anomaly.datasets.dataset import Dataset, DatasetError
from tao_anomaly.datasets.plaza.dataset import load_plaza
from tao_anomaly.datasets.shanghaitech import load_shanghaitech
from tao_anomaly.datasets.street_scene import load_street_scene
from tao_anomaly.datasets.ubnormal import load_ubnormal
from tao_anomaly.datasets.ucsd import load_ucsd_ped1, load_ucsd_ped2

Loader = Callable[[Path, Path | None], Dataset]

DATASETS: dict[str, Loader] = {
    "ucsd_ped1": load_ucsd_ped1,
    "ucsd_ped2": load_ucsd_ped2,
    "avenue": load_avenue,
    "shanghaitech": load_shanghaitech,
    "street_scene": load_street_scene,
    "ubnormal": load_ubnormal,
    "plaza": load_plaza,
    "custom": load_custom,
}


def load_dataset(name: str, root: str | Path, *, cache: str | Path | None = None) -> Dataset:
    """Load a dataset as released from the folder `root` (custom: its YAML file).

    cache: folder where regions derived from masks are kept, as AED text files, one a clip; None
    derives them each time. Raises DatasetError for an unknown name, and where a part is missing:
    what, where it was sought, and where to get it.
    """
    if name not in DATASETS:
        raise DatasetError(f"got dataset {name!r}, expected one of {', '.join(DATASETS)}")
    root = Path(root).expanduser()
    if not root.exists():
        raise DatasetError(f"{name}: {root} does not exist; give the folder you unpacked it to")
    kept = None if cache is None else Path(cache).expanduser()
    if (
        kept
        and root.is_dir()
        and name != "custom"
        and kept.resolve().is_relative_to(root.resolve())
    ):
        raise DatasetError(f"got cache {kept} inside the dataset {root}; choose a folder outside")
    return DATASETS[name](root, kept)
