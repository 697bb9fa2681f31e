"""Recorded anomaly scores: tao_anomaly_msgs/AnomalyArray messages of a rosbag, read without ROS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from tao_anomaly.media.source import SourceError
from tao_anomaly.structures import NANOSECONDS, AnomalyScores, AnomalyState, FloatArray, Tracks

MESSAGE = "tao_anomaly_msgs/msg/AnomalyArray"
_REPOSITORY = Path(__file__).resolve().parents[2]
# Packages whose definitions a bag may lack, and where a checkout has them.
_PACKAGES = {
    "tao_anomaly_msgs": _REPOSITORY / "tao_anomaly_msgs" / "msg",
    "vision_msgs": _REPOSITORY / "underlay" / "vision_msgs" / "msg",
}


def message_types() -> Typestore:
    """Return the messages of ROS 2 Jazzy and of this package, for bags that define none.

    The definitions come from the checkout or, where the package is installed, from the share
    folders of AMENT_PREFIX_PATH. Raises SourceError where they are in neither.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    for package, folder in _PACKAGES.items():
        for path in _definitions(package, folder):
            name = f"{package}/msg/{path.stem}"
            if name not in store.types:
                store.register(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    return store


def read_anomalies(bag: Path, *, topic: str | None = None) -> Iterator[tuple[int, AnomalyScores]]:
    """Yield time of recording and scores of each AnomalyArray of a bag, in recorded order.

    topic: needed where several hold such messages. Raises SourceError naming the bag.
    """
    try:
        with AnyReader([_bag_path(bag)], default_typestore=message_types()) as reader:
            chosen = _choose(reader, bag, topic)
            for connection, time_ns, raw in reader.messages(connections=chosen):
                yield time_ns, _scores(reader.deserialize(raw, connection.msgtype))
    except SourceError:
        raise
    except Exception as error:  # rosbags raises many kinds for a damaged file
        raise SourceError(f"{bag}: not a readable rosbag ({error})") from error


def _bag_path(bag: Path) -> Path:
    """Return what rosbags opens: a folder with its metadata.yaml, or a file of its own."""
    whole = bag.is_file() and (bag.parent / "metadata.yaml").exists()
    return bag.parent if whole else bag


def _definitions(package: str, folder: Path) -> list[Path]:
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    places = [folder, *(Path(p) / "share" / package / "msg" for p in prefixes if p)]
    for place in places:
        found = sorted(place.glob("*.msg"))
        if found:
            return found
    listed = ", ".join(map(str, places))
    raise SourceError(f"no message definitions of {package}; looked for {listed}")


def _choose(reader: AnyReader, bag: Path, topic: str | None) -> list[Any]:
    topics = sorted({c.topic for c in reader.connections if c.msgtype == MESSAGE})
    chosen = topics if topic is None else [t for t in topics if t == topic]
    if len(chosen) != 1:
        raise SourceError(
            f"{bag}: got topic {topic or '(none given)'}, expected one of its topics of"
            f" {MESSAGE}: {', '.join(topics) or 'none'}; choose it with topic="
        )
    return [c for c in reader.connections if c.topic == chosen[0]]


def _scores(message: Any) -> AnomalyScores:
    objects, names = message.objects, tuple(message.term_names)
    boxes = [
        (
            o.bbox.center.position.x - o.bbox.size_x / 2,
            o.bbox.center.position.y - o.bbox.size_y / 2,
            o.bbox.center.position.x + o.bbox.size_x / 2,
            o.bbox.center.position.y + o.bbox.size_y / 2,
        )
        for o in objects
    ]
    stamp = message.header.stamp
    return AnomalyScores(
        stamp_ns=stamp.sec * NANOSECONDS + stamp.nanosec,
        epoch=message.epoch,
        image_size=(message.image_height, message.image_width),
        tracks=Tracks(
            ids=tuple(o.id for o in objects),
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            scores=np.array([o.detection_score for o in objects], np.float32),
            class_ids=np.array([int(o.class_id) for o in objects], np.int64),
            ages=np.array([o.age for o in objects], np.int64),
            states=np.array([o.track_state for o in objects], np.int64),
        ),
        observations=np.array([o.observations for o in objects], np.int64),
        states=np.array([AnomalyState(o.state) for o in objects], np.int64),
        scores=np.array([o.score for o in objects], np.float32),
        raw=np.array([o.score_raw for o in objects], np.float32),
        terms=_rows(objects, "terms", names),
        term_names=names,
        # Bags recorded before messages explained themselves have neither of the two.
        contributions=_rows(objects, "contributions", names),
        leading=tuple(o.leading for o in objects),
        cues=tuple(getattr(o, "cue", o.leading) for o in objects),
        threshold=float(message.threshold),
        model_id=message.model_id,
    )


def _rows(objects: Any, field: str, names: tuple[str, ...]) -> FloatArray:
    rows = np.full((len(objects), len(names)), np.nan, np.float32)
    for row, entry in enumerate(objects):
        rows[row] = getattr(entry, field, np.nan)
    return rows
