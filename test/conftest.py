from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tao_anomaly.config import DetectorConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.structures import NANOSECONDS, TrackFeatures, Tracks, TrackState

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache of this session and its processes: empty at first, and left to nobody."""
    path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(path))
        yield path


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data, weights and golden numbers that lie beside the repository, not in it."""
    path = Path(os.environ.get("TAO_ANOMALY_SHARED", REPOSITORY.parent / "shared")).absolute()
    if not path.is_dir():
        pytest.skip(f"no shared data: {path} is not a directory (set TAO_ANOMALY_SHARED)")
    return path


@pytest.fixture(scope="session")
def ped2(shared: Path) -> Path:
    """UCSD Ped2: ``Train/TrainNNN`` and ``Test/TestNNN`` of 360x240 images."""
    return shared / "data" / "UCSDped2"


@pytest.fixture(scope="session")
def weights(shared: Path) -> Path:
    """YOLOv8n trained on COCO."""
    return shared / "weights" / "yolov8n_coco.pt"


@pytest.fixture(scope="session")
def detector(weights: Path) -> Detector:
    """The real detector, loaded once; it holds no state of a stream."""
    return Detector.from_config(DetectorConfig(weights=str(weights), threads=2))


@pytest.fixture(scope="session")
def footage(ped2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Normal footage: a folder of three clips of twelve real images each."""
    folder = tmp_path_factory.mktemp("footage")
    for clip in ("Train001", "Train002", "Train003"):
        (folder / clip).mkdir()
        for image in sorted((ped2 / "Train" / clip).glob("*.jpg"))[:12]:
            (folder / clip / image.name).symlink_to(image)
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `fit_process` puts its model."""
    return tmp_path_factory.mktemp("fitted") / "model"


@pytest.fixture(scope="session")
def fit_process(
    footage: Path, weights: Path, model_folder: Path
) -> subprocess.CompletedProcess[str]:
    """The fit command, run on `footage` in a process of its own."""
    words = [f"source={footage}", f"output={model_folder}", f"pipeline.detector.weights={weights}"]
    command = [sys.executable, "-m", "tao_anomaly.fit", *words, "pipeline.detector.threads=2"]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="session")
def fitted_model(fit_process: subprocess.CompletedProcess[str], model_folder: Path) -> Path:
    """Folder of a baseline fitted on `footage`."""
    assert fit_process.returncode == 0, fit_process.stderr
    return model_folder


@pytest.fixture
def make_features() -> Callable[..., TrackFeatures]:
    """Build the tracked objects of one image by hand."""
    return _make_features


def _make_features(
    seconds: float,
    objects: Mapping[str, object],
    *,
    dim: int = 3,
    epoch: int = 0,
    feature_id: str = "synthetic",
    boxes: object = None,
    confidence: float = 0.9,
    image_size: tuple[int, int] = (100, 200),
) -> TrackFeatures:
    """Return an image at `seconds` whose tracks have the feature vectors `objects`, by id."""
    count = len(objects)
    features = np.array(list(objects.values()), np.float32).reshape(count, dim)
    default = np.tile(np.array([10, 10, 30, 50], np.float32), (count, 1))
    placed = default if boxes is None else np.array(boxes, np.float32).reshape(count, 4)
    tracks = Tracks(
        ids=tuple(objects),
        boxes=placed,
        scores=np.full(count, confidence, np.float32),
        class_ids=np.zeros(count, np.int64),
        ages=np.zeros(count, np.int64),
        states=np.full(count, int(TrackState.TRACKED), np.int64),
    )
    stamp_ns = round(seconds * NANOSECONDS)
    return TrackFeatures(stamp_ns, epoch, image_size, tracks, features, feature_id)
