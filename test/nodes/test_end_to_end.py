"""Real images through real processes over Fast DDS, against the pipeline in this process."""

from __future__ import annotations

import array
import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("tao_anomaly_msgs.msg", reason="no messages: make setup, then make test")

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tao_anomaly_msgs.msg import AnomalyArray, AnomalyEvent, TrackFeatureArray
from vision_msgs.msg import Detection2DArray

from tao_anomaly.config import PipelineConfig
from tao_anomaly.detection.detector import Detector
from tao_anomaly.media.source import open_source
from tao_anomaly.model.artifact import load_artifact
from tao_anomaly.nodes import topics
from tao_anomaly.nodes.conversions import features_from, scores_from
from tao_anomaly.nodes.image_conversions import (
    frame_from_image,
    image_message,
    to_nanoseconds,
    to_time,
)
from tao_anomaly.pipeline import Pipeline, PipelineResult
from tao_anomaly.structures import NANOSECONDS, EventPhase, Frame

GRAPH = "tao_anomaly.nodes.graph"
THREADS = 2  # of the detector, here and in the nodes: then sums are made in the same order


@pytest.fixture
def run_graph(start, weights: Path, model: Path, tmp_path: Path) -> Callable[..., object]:
    """Start the graph on a source with the real detector and the test's model."""
    settings = tmp_path / "settings.yaml"
    # Nothing may be lost on its way where every image is to be compared.
    reliable = {f"/{topics.IMAGE}": {"subscription": {"reliability": "reliable"}}}
    parameters = {"detector": {"threads": THREADS}, "qos_overrides": reliable}
    settings.write_text(json.dumps({"/**": {"ros__parameters": parameters}}))

    def run(source: Path, *arguments: str) -> object:
        given = ("--model", str(model), "--detector-weights", str(weights))
        files = ("--params-file", str(settings), "--source", str(source))
        return start(GRAPH, *given, *files, *arguments)

    return run


@pytest.fixture
def ped2_clip(ped2: Path, tmp_path: Path) -> Path:
    """The first 40 images of Test004, linked."""
    clip = tmp_path / "Test004"
    clip.mkdir()
    for image in sorted((ped2 / "Test" / "Test004").glob("*.jpg"))[:40]:
        (clip / image.name).symlink_to(image)
    return clip


@pytest.fixture
def vtest_clip(shared: Path, tmp_path: Path) -> Path:
    return cut(shared / "data" / "vtest.avi", tmp_path / "vtest", 30)


def cut(video: Path, folder: Path, count: int) -> Path:
    """Write the first images of a video into a folder, without loss."""
    folder.mkdir()
    for frame, _ in zip(open_source(video), range(count), strict=False):
        cv2.imwrite(str(folder / f"{frame.index:04d}.png"), frame.image)
    return folder


def offline(
    source: Path, headers: list[Header], detector: Detector, model: Path
) -> list[PipelineResult]:
    """Run the pipeline here on the same images with the stamps the nodes saw."""
    torch.set_num_threads(THREADS)
    pipeline = Pipeline.from_config(
        PipelineConfig(), artifact=load_artifact(model), detector=detector
    )
    results = []
    for frame, header in zip(open_source(source), headers, strict=True):
        result = pipeline.process(Frame(frame.image, to_nanoseconds(header.stamp), frame.index))
        assert result is not None
        results.append(result)
    return results


def assert_same_results(
    features: list[TrackFeatureArray], anomalies: list[AnomalyArray], expected: list[PipelineResult]
) -> int:
    """Compare what came over the wire with the results here; returns the number of scores."""
    scored = 0
    for feature_message, anomaly_message, result in zip(features, anomalies, expected, strict=True):
        got, scores = features_from(feature_message), scores_from(anomaly_message)
        assert got.tracks.ids == scores.tracks.ids == result.features.tracks.ids
        assert (got.feature_id, got.epoch) == (result.features.feature_id, result.features.epoch)
        for tracks in (got.tracks, scores.tracks):
            np.testing.assert_allclose(tracks.boxes, result.features.tracks.boxes, atol=1e-2)
            np.testing.assert_array_equal(tracks.class_ids, result.features.tracks.class_ids)
            np.testing.assert_array_equal(tracks.states, result.features.tracks.states)
        np.testing.assert_allclose(got.features, result.features.features, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(scores.states, result.scores.states)
        np.testing.assert_allclose(scores.scores, result.scores.scores, atol=1e-4)
        np.testing.assert_allclose(scores.terms, result.scores.terms, atol=1e-3)
        assert scores.leading == result.scores.leading
        scored += int(np.isfinite(scores.scores).sum())
    return scored


def listen(listener) -> tuple[list, list, list]:
    listener.listen(Image, topics.IMAGE)
    listener.listen(TrackFeatureArray, topics.FEATURES)
    listener.listen(AnomalyArray, topics.ANOMALIES)
    received = listener.received
    return received[topics.IMAGE], received[topics.FEATURES], received[topics.ANOMALIES]


def lost(images: list, answers: list) -> list[int]:
    """Return the numbers of the images that have no answer."""
    answered = {to_nanoseconds(header.stamp) for header in headers(answers)}
    stamps = [to_nanoseconds(header.stamp) for header in headers(images)]
    return [number for number, stamp in enumerate(stamps) if stamp not in answered]


def headers(messages: list) -> list[Header]:
    return [message.header for message in messages]


@pytest.mark.parametrize("clip", ["ped2_clip", "vtest_clip"])
def test_separate_processes_give_what_the_pipeline_gives(
    clip: str, request, run_graph, listener, detector: Detector, model: Path
) -> None:
    source: Path = request.getfixturevalue(clip)
    count = len(list(source.iterdir()))
    images, features, anomalies = listen(listener)
    process = run_graph(source, "--lock-step")
    assert process.wait(240) == 0, process.output
    listener.wait(lambda: len(images) == count)
    assert lost(images, features) == lost(images, anomalies) == [], process.output
    assert headers(features) == headers(anomalies) == headers(images)
    stamps = [to_nanoseconds(header.stamp) for header in headers(images)]
    assert set(np.diff(stamps)) == {100_000_000}
    expected = offline(source, headers(images), detector, model)
    assert assert_same_results(features, anomalies, expected) > 20
    assert f"{count} images published, {count} scored" in process.output


def test_one_process_gives_the_same_on_the_same_topics(
    ped2_clip: Path, run_graph, listener, detector: Detector, model: Path, tmp_path: Path
) -> None:
    images, features, anomalies = listen(listener)
    listener.listen(Detection2DArray, topics.TRACKS)
    listener.listen(AnomalyEvent, topics.EVENTS)
    listener.listen(CameraInfo, topics.CAMERA_INFO)
    video = tmp_path / "overlay.mp4"
    process = run_graph(ped2_clip, "--lock-step", "--composed", "--record", str(video))
    assert process.wait(240) == 0, process.output
    listener.wait(lambda: len(images) == 40)
    assert lost(images, features) == lost(images, anomalies) == [], process.output
    assert headers(features) == headers(anomalies) == headers(images)
    expected = offline(ped2_clip, headers(images), detector, model)
    assert_same_results(features, anomalies, expected)
    tracks = listener.received[topics.TRACKS]
    assert [[d.id for d in message.detections] for message in tracks] == [
        list(result.features.tracks.ids) for result in expected
    ]
    events = [event for result in expected for event in result.events]
    assert [e.event_id for e in listener.received[topics.EVENTS]] == [e.event_id for e in events]
    assert EventPhase.START in {event.phase for event in events}
    info = listener.received[topics.CAMERA_INFO][0]
    assert (info.header, info.width, info.height) == (images[0].header, 360, 240)
    recorded = open_source(video)
    assert (recorded.length, recorded.rate) == (40, pytest.approx(10.0))


def test_bad_images_are_skipped_and_the_good_ones_between_are_answered(
    start, listener, weights: Path, vtest_clip: Path
) -> None:
    listener.listen(TrackFeatureArray, topics.FEATURES)
    received = listener.received[topics.FEATURES]
    publisher = listener.node.create_publisher(Image, topics.IMAGE, 5)
    process = start(
        "tao_anomaly.nodes.detector_node", "--ros-args", "-p", f"detector.weights:={weights}"
    )
    good = next(iter(open_source(vtest_clip))).image
    sent: list[Header] = []

    def send_good_until_answered() -> None:
        before = len(received)
        while len(received) == before:  # best effort: one may be lost
            sent.append(Header(stamp=to_time((1 + len(sent)) * NANOSECONDS), frame_id="test"))
            publisher.publish(image_message(good, sent[-1]))
            listener.wait_up_to(1.0, lambda: len(received) > before)

    send_good_until_answered()
    bad = [
        Image(encoding="bgr8"),
        Image(height=1, width=1, step=14, encoding="16SC7", data=array.array("B", bytes(14))),
        Image(height=480, width=640, step=1920, encoding="bgr8", data=array.array("B", b"few")),
    ]
    for message in bad:
        publisher.publish(message)
        while "skipped, unreadable image" not in process.output:
            publisher.publish(message)
            time.sleep(0.2)
        send_good_until_answered()
    answered = headers(received)
    assert answered == [header for header in sent if header in answered]
    assert all(len(message.tracks) for message in received)
    assert "skipped, unreadable image (1 so far): got an empty image of 0x0" in process.output
    assert process.interrupt() == 0


def test_compressed_images_are_taken_where_asked_for(
    start, listener, weights: Path, vtest_clip: Path
) -> None:
    listener.listen(TrackFeatureArray, topics.FEATURES)
    received = listener.received[topics.FEATURES]
    topic = f"{topics.IMAGE}/compressed"
    publisher = listener.node.create_publisher(CompressedImage, topic, 5)
    words = ("-p", f"detector.weights:={weights}", "-p", "image_transport:=compressed")
    start("tao_anomaly.nodes.detector_node", "--ros-args", *words)
    listener.wait(publisher.get_subscription_count)
    message = CompressedImage(format="png")
    message.header.stamp = to_time(NANOSECONDS)
    message.data = array.array("B", (vtest_clip / "0000.png").read_bytes())
    while not received:  # best effort: the first ones may be lost
        publisher.publish(message)
        time.sleep(0.5)
    assert received[0].header == message.header
    assert (received[0].image_width, received[0].image_height) == (768, 576)


def test_a_node_that_cannot_start_says_why_and_ends_the_graph(start, weights: Path) -> None:
    process = start(GRAPH, "--model", "nowhere", "--detector-weights", str(weights))
    assert process.wait(60) == 1
    assert "error: nowhere/config.json: not found" in process.output
    assert "scorer_node ended with status 1; the others are ended too" in process.output


def test_a_node_refuses_weights_that_nobody_vouches_for(start, tmp_path: Path) -> None:
    path = tmp_path / "own.pt"
    path.write_bytes(b"own")
    words = ("--ros-args", "-p", f"detector.weights:={path}")
    process = start("tao_anomaly.nodes.detector_node", *words)
    assert process.wait(60) == 1
    digest = hashlib.sha256(b"own").hexdigest()
    expected = (
        f": {path}: got SHA-256 {digest}, expected that of a known checkpoint; if you trust where"
        " the file is from, set detector.weights_sha256 (fit, infer, extract, evaluate:"
        " pipeline.detector.weights_sha256) to this hash, or to any"
    )
    lines = process.output.splitlines()
    assert [line.endswith(expected) for line in lines] == [True, True]  # the log's and its own
    assert f"error{expected}" in lines


@pytest.mark.slow
def test_every_image_is_answered_or_counted_whatever_the_pace(
    run_graph, listener, vtest_clip: Path
) -> None:
    images, features, anomalies = listen(listener)
    process = run_graph(vtest_clip, "--publish-rate", "15")
    assert process.wait(240) == 0, process.output
    listener.wait(lambda: len(images) == 30)
    answered = headers(anomalies)
    assert headers(features) == answered == [h for h in headers(images) if h in answered]
    counted = re.search(r"detector.*: (\d+) messages answered, (\d+) left out", process.output)
    assert counted, process.output
    assert int(counted[1]) == len(answered)
    assert int(counted[1]) + int(counted[2]) == len(images), process.output
    picture = frame_from_image(images[0], 0).image
    assert (picture != picture[:, :, :1]).any(), "grey, though the video is in colour"
