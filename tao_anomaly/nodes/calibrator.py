"""The service ~/calibrate: refits the threshold of a running scorer on the traffic it sees."""

from __future__ import annotations

import math
from pathlib import Path

from std_srvs.srv import Trigger

from tao_anomaly.nodes.parameters import Settings
from tao_anomaly.nodes.settings import ModelSettings
from tao_anomaly.nodes.stage_node import StageNode
from tao_anomaly.scoring.normal_scores import ThresholdError
from tao_anomaly.scoring.recalibration import (
    ScoreCollector,
    load_threshold,
    refit,
    save_threshold,
)
from tao_anomaly.scoring.scorer import Scorer
from tao_anomaly.structures import AnomalyScores


class Calibrator:
    """Collects scores on demand, then refits, applies and saves the threshold.

    status: of the latest calibration, for diagnostics.
    """

    def __init__(self, node: StageNode, settings: Settings[ModelSettings]) -> None:
        self.status = "not asked for"
        self._node = node
        self._settings = settings
        self._scorer: Scorer | None = None
        self._collector: ScoreCollector | None = None
        node.create_service(Trigger, "~/calibrate", self._serve)

    def configure(self, scorer: Scorer) -> None:
        """Take a scorer, with the threshold of the calibration file where there is one."""
        self._scorer = scorer
        path = self._file()
        if path is not None and path.exists():
            found = load_threshold(path, model_id=scorer.model_id, calibration=scorer.calibration)
            scorer.recalibrate(found)
            self.status = f"threshold {found.threshold['value']:.3f} of {path}"
            self._node.get_logger().info(self.status)

    def cleanup(self) -> None:
        """Let go of the scorer."""
        self._scorer = None
        self.stop()

    def stop(self) -> None:
        """End an unfinished calibration."""
        if self._collector is not None:
            self._collector = None
            self._finish("stopped before enough was seen; the threshold stays", failed=True)

    def update(self, scores: AnomalyScores) -> None:
        """Take in the scores of an image while a calibration runs."""
        if self._collector is None:
            return
        self._collector.update(scores)
        if self._collector.done:
            collector, self._collector = self._collector, None
            self._apply(collector)

    def _apply(self, collector: ScoreCollector) -> None:
        assert self._scorer is not None
        try:
            found = refit(self._scorer.calibration, collector.normal_scores())
        except ThresholdError as error:
            self._finish(f"failed, the threshold stays: {error}", failed=True)
            return
        self._scorer.recalibrate(found)
        told = f"threshold {found.threshold['value']:.3f} on {found.threshold['tracks']} tracks"
        path = self._file()
        if path is None:
            self._finish(f"{told}, not kept: no calibration_file")
            return
        try:
            save_threshold(path, model_id=self._scorer.model_id, threshold=found.threshold)
        except OSError as error:
            self._finish(f"{told}, not kept: {error}", failed=True)
            return
        self._finish(f"{told}, kept in {path}")

    def _finish(self, status: str, *, failed: bool = False) -> None:
        self.status = status
        logger = self._node.get_logger()
        (logger.error if failed else logger.info)(f"calibration: {status}")

    def _file(self) -> Path | None:
        name = self._settings.value.calibration_file
        return Path(name).expanduser() if name else None

    def _serve(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        scorer = self._scorer
        if scorer is None or not self._node.active:
            response.message = f"not active: {self._node.lifecycle_state()}"
        elif not math.isnan(scorer.config.threshold):
            response.message = (
                f"the parameter scorer.threshold, {scorer.config.threshold}, would hide the result;"
                " set it to nan first"
            )
        elif "q" not in scorer.calibration.threshold:
            response.message = (
                "the model's threshold was given, not fitted by a rule with q: set the parameter"
                " scorer.threshold instead"
            )
        else:
            seconds = self._settings.value.calibration_time
            with self._node.lock:
                self._collector = ScoreCollector(seconds)
            self.status = f"collecting for {seconds:g} s"
            response.success, response.message = True, self.status
        return response
