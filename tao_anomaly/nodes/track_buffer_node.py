"""Node of the second stage: features of each image in, windows along the tracks out."""

from __future__ import annotations

import sys

from tao_anomaly_msgs.msg import TrackFeatureArray

from tao_anomaly.config import WindowConfig
from tao_anomaly.nodes import qos, topics
from tao_anomaly.nodes.conversions import features_from
from tao_anomaly.nodes.outputs import WindowOutput
from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.stage_node import StageNode, run
from tao_anomaly.windows import FeatureMismatchError, TrackBuffer


class TrackBufferNode(StageNode):
    """Buffers tracks and emits due windows; one array for every image, also when empty."""

    def __init__(self) -> None:
        super().__init__("track_buffer")
        self._settings = Settings(
            self, WindowConfig, prefix="windows", on_change=self._take_settings
        )
        self._buffer = TrackBuffer(self._settings.value)

    def _take_settings(self, config: WindowConfig) -> None:
        self._buffer.config = config

    def configure(self) -> None:
        """Make the publisher."""
        self._output = WindowOutput(self)

    def activate(self) -> None:
        """Begin to receive features."""
        self.listen(TrackFeatureArray, topics.FEATURES, self.answering(self._answer), qos.STAGE)

    def reset_stream(self) -> None:
        """Drop all windows."""
        self._buffer.reset()

    def describe(self) -> dict[str, object]:
        """Return what is buffered."""
        return {"tracks": len(self._buffer)}

    def _answer(self, message: TrackFeatureArray) -> None:
        features = features_from(message)
        try:
            windows = self._buffer.update(features)
        except FeatureMismatchError as error:
            self.get_logger().warning(f"{error}: another detector now, all tracks are dropped")
            self._buffer.reset()
            windows = self._buffer.update(features)
        self._output.publish(windows, message.header)


def main() -> int:
    """Run the node."""
    return run(TrackBufferNode)


if __name__ == "__main__":
    sys.exit(main())
