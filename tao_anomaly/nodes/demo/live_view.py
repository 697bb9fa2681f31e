"""The scorer's messages as they come: a line of progress in the terminal, and a bag."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from tao_anomaly_msgs.msg import AnomalyArray, AnomalyEvent
from tqdm import tqdm
from vision_msgs.msg import LabelInfo

from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.conversions import class_names_from, event_from, scores_from
from tao_anomaly.nodes.image_conversions import stamp_of
from tao_anomaly.nodes.replay_node import AnswerRecorder
from tao_anomaly.structures import NANOSECONDS, AnomalyScores, EventPhase
from tao_anomaly.visualization.overlay import track_number

_SETTLE = 2.0  # seconds in which the last messages may follow the end of the graph's source
_LINE_EVERY = 50  # images, where the output is no terminal


class LiveView:
    """Context manager that shows and records what the scorer says, in a thread of its own.

    images: how many are to come. bag: folder to make of scores and events; after an exception, or
    without a message, there is none. seen: images so far. events: begun so far.
    """

    def __init__(self, *, images: int, bag: Path) -> None:
        self.seen = self.events = 0
        self._images = images
        self._bag = bag
        self._names: dict[int, str] = {}
        self._cues: dict[str, str] = {}
        self._first_ns: int | None = None
        self._error: Exception | None = None

    def __enter__(self) -> LiveView:
        self._bar = tqdm(
            total=self._images,
            unit="img",
            desc="  starting the nodes",
            bar_format="{desc}{n_fmt}/{total_fmt} |{bar:12}| {rate_fmt}{postfix}",
            file=sys.stdout,
            disable=not sys.stdout.isatty(),
        )
        self._context = rclpy.Context()
        # Ctrl-C is the demo's.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node("live_view", context=self._context)
        names = {name: node.resolve_topic_name(name) for name in (topics.EVENTS, topics.ANOMALIES)}
        self._recorder = AnswerRecorder(
            self._bag, scores=names[topics.ANOMALIES], events=names[topics.EVENTS], storage="mcap"
        )

        def listen(kind: type, topic: str, show: Callable[[Any], None], profile: Any) -> None:
            def take(message: bytes) -> None:
                try:
                    self._recorder.add(names[topic], stamp_of(message), message)
                    show(deserialize_message(message, kind))
                except (OSError, ValueError) as error:
                    self._error = self._error or error

            node.create_subscription(kind, names[topic], take, profile, raw=True)

        listen(AnomalyEvent, topics.EVENTS, self._show_event, qos.NEW_EVENTS)
        listen(AnomalyArray, topics.ANOMALIES, self._show_scores, qos.STAGE)
        node.create_subscription(LabelInfo, topics.LABEL_INFO, self._take_names, qos.LABEL_INFO)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name="live view")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._wait_for_the_last()
        self._context.try_shutdown()
        self._thread.join()
        self._executor.shutdown()
        self._bar.close()
        if kind is None and self._error is None and self.seen:
            self._recorder.close()
        else:
            self._recorder.discard()
        if kind is None and self._error is not None:
            raise self._error

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _wait_for_the_last(self) -> None:
        deadline = time.monotonic() + _SETTLE
        while self.seen < self._images and time.monotonic() < deadline:
            time.sleep(0.05)

    def _take_names(self, message: LabelInfo) -> None:
        self._names = class_names_from(message)

    def _show_scores(self, message: AnomalyArray) -> None:
        scores = scores_from(message)
        if self._first_ns is None:
            self._first_ns = scores.stamp_ns
            self._bar.set_description_str("  ", refresh=False)
        self.seen += 1
        self._cues |= dict(zip(scores.tracks.ids, scores.cues, strict=True))
        text = self._text(scores)
        if not self._bar.disable:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update()
        elif self.seen % _LINE_EVERY == 0 or self.seen == self._images:
            print(f"  image {self.seen} of {self._images}: {text}", flush=True)

    def _text(self, scores: AnomalyScores) -> str:
        """Return how many objects there are and which of them is the most anomalous."""
        count = f"{len(scores.tracks)} tracks"
        if not np.isfinite(scores.scores).any():
            return count
        top = int(np.nanargmax(scores.scores))
        who = self._who(int(scores.tracks.class_ids[top]), scores.tracks.ids[top])
        reached = f"{scores.scores[top]:.1f} of {scores.threshold:.1f}"
        return f"{count}, top {reached}: {who}, {scores.cues[top]}"

    def _show_event(self, message: AnomalyEvent) -> None:
        event = event_from(message)
        who = self._who(event.class_id, event.track_id)
        if event.phase == EventPhase.START:
            self.events += 1
            what = f"begins: {self._cues.get(event.track_id, '')}"
        else:
            what = f"ended after {event.duration:.1f} s, score up to {event.peak_score:.1f}"
        since = (event.start_ns - (self._first_ns or event.start_ns)) / NANOSECONDS
        if event.phase != EventPhase.START:
            since += event.duration
        tqdm.write(f"  {since:5.1f} s  {who} {what}", file=sys.stdout)

    def _who(self, class_id: int, track_id: str) -> str:
        """Return class and number of a track."""
        name = self._names.get(class_id, f"class {class_id}")
        return f"{name} {track_number(track_id)}"
