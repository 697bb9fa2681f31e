"""Ten thousand random and mutated messages: refused with a reason or taken, never a crash."""

from __future__ import annotations

import array
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

import psutil
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import TrackFeatureArray

from tao_anomaly.config import ScorerConfig, WindowConfig
from tao_anomaly.media.image_encoding import ImageError
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.nodes import conversions as convert
from tao_anomaly.nodes.image_conversions import frame_from_image, image_message, to_time
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import TrackFeatures
from tao_anomaly.windows import FeatureMismatchError, TrackBuffer

ENCODINGS = ("bgr8", "rgb8", "mono8", "mono16", "bgra8", "bayer_rggb8", "yuv422_yuy2", "32FC1", "x")
SPECIAL = (0, 1, 2, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
Random = np.random.Generator


def some_bytes(random: Random, most: int) -> array.array[int]:
    return array.array("B", random.integers(0, 256, random.integers(0, most), np.uint8).tobytes())


def mutate_image(random: Random, message: Image) -> Image:
    for field in random.choice(["height", "width", "step", "encoding", "data", "is_bigendian"], 2):
        if field == "encoding":
            message.encoding = str(random.choice(ENCODINGS))
        elif field == "data":
            message.data = some_bytes(random, 1000)
        elif field == "is_bigendian":
            message.is_bigendian = int(random.integers(0, 256))
        else:
            small = int(random.integers(0, 40))
            setattr(message, field, small if random.random() < 0.7 else int(random.choice(SPECIAL)))
    return message


def images(random: Random, count: int) -> Iterator[Image]:
    picture = random.integers(0, 256, (8, 10, 3), np.uint8)
    for _ in range(count):
        yield mutate_image(random, image_message(picture, Header()))


def compressed_images(random: Random, count: int) -> Iterator[CompressedImage]:
    picture = random.integers(0, 256, (8, 10, 3), np.uint8)
    whole = [cv2.imencode(kind, picture)[1].tobytes() for kind in (".jpg", ".png")]
    for n in range(count):
        data = bytearray(whole[n % 2])
        for place in random.integers(0, len(data), random.integers(0, 4)):
            data[place] = int(random.integers(0, 256))
        message = CompressedImage(format="jpeg")
        if n % 3 == 0:
            del data[random.integers(0, len(data)) :]
        message.data = array.array("B", bytes(data))
        if n % 10 == 0:
            message.data = some_bytes(random, 300)
        yield message


@pytest.mark.parametrize("made", [images, compressed_images])
def test_an_image_is_decoded_or_refused(made: Callable[..., Iterator[Any]]) -> None:
    found = Counter[str]()
    for message in made(np.random.default_rng(0), 3500):
        try:
            frame = frame_from_image(message, 0)
        except ImageError:
            found["refused"] += 1
            continue
        found["taken"] += 1
        assert frame.image.dtype == np.uint8
        assert frame.image.shape[2] == 3
        assert frame.image.size
    assert min(found["refused"], found["taken"]) > 100, found


def random_features(random: Random, feature_id: str, dim: int) -> TrackFeatureArray:
    count = int(random.integers(0, 5))
    numbers = random.permutation(8)[:count]
    message = TrackFeatureArray(
        feature_id=feature_id,
        epoch=int(random.integers(0, 2)),
        image_height=100,
        image_width=200,
        feature_dim=dim,
        features=array.array("f", random.normal(size=count * dim).astype(np.float32).tobytes()),
        tracks=[convert.messages.TrackFeature(id=f"0-{n}", class_id="0") for n in numbers],
    )
    message.header.stamp = to_time(int(random.integers(0, 3 * 10**9)))
    return message


def mutate_features(random: Random, message: TrackFeatureArray) -> TrackFeatureArray:
    what = random.integers(0, 8)
    if what == 0:
        message.feature_dim = int(random.choice(SPECIAL))
    elif what == 1:
        message.epoch, message.image_height = (int(v) for v in random.choice(SPECIAL, 2))
    elif what == 2:
        message.header.stamp.sec = int(random.integers(-(2**31), 2**31))
        message.header.stamp.nanosec = int(random.integers(0, 2**32))
    elif what == 3 and message.features:
        odd = random.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45])
        message.features[int(random.integers(0, len(message.features)))] = float(odd)
    elif what == 4:
        message.features = message.features[: random.integers(0, len(message.features) + 1)]
    elif what == 5:
        message.feature_id = "foreign"
    elif what == 6 and message.tracks:
        track = message.tracks[0]
        track.id, track.class_id = (str(w) for w in random.choice(["", "0-1", "9" * 64, "é"], 2))
        track.age, track.state = int(random.choice(SPECIAL)), int(random.integers(0, 256))
        track.bbox.size_x = float(random.choice([np.nan, np.inf, -5.0, 1e308]))
    return message


def test_features_are_scored_or_refused(light_model: Path) -> None:
    random = np.random.default_rng(1)
    artifact = load_artifact(light_model)
    buffer = TrackBuffer(WindowConfig(hop=1))
    scorer = Scorer.from_artifact(artifact, config=ScorerConfig())
    found = Counter[str]()
    process = psutil.Process(os.getpid())
    for n in range(3000):
        if n == 500:
            megabytes = process.memory_info().rss / 2**20
        message = random_features(random, artifact.feature_id, artifact.layout.dim)
        try:
            answer(mutate_features(random, message), buffer, scorer)
            found["scored"] += 1
        except ValueError:
            found["refused"] += 1
    assert min(found["refused"], found["scored"]) > 100, found
    assert process.memory_info().rss / 2**20 < megabytes + 20


def answer(message: TrackFeatureArray, buffer: TrackBuffer, scorer: Scorer) -> None:
    """Do what the nodes do, with a trip through the message of each stage."""
    features: TrackFeatures = convert.features_from(message)
    try:
        windows = buffer.update(features)
    except FeatureMismatchError:
        buffer.reset()
        windows = buffer.update(features)
    sent = convert.windows_from(convert.windows_message(windows, message.header))
    foreign = sent.feature_id != scorer.feature_id
    scores = scorer.refuse(sent) if foreign else scorer.update(sent)
    told = convert.scores_message(scores, message.header, window_length=windows.length)
    assert len(told.objects) == len(message.tracks)
    assert len(buffer) <= buffer.config.max_tracks
