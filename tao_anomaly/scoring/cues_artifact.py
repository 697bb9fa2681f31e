"""Cues as an artifact holds them, of their own or beside a network."""

from __future__ import annotations

import math

import numpy as np

from tao_anomaly.features.optical_flow import DIRECTIONS
from tao_anomaly.features.scene_scale import SceneScale
from tao_anomaly.model.artifact import Artifact, ArtifactError
from tao_anomaly.scoring.belief import NormalMotion
from tao_anomaly.scoring.cues import Cues, check_cues
from tao_anomaly.scoring.local_velocity import LocalVelocities
from tao_anomaly.scoring.nearest import Memory


def build(artifact: Artifact) -> Cues:
    """Return the cues of a verified artifact; raises ArtifactError naming the key."""
    try:
        scale = SceneScale(**artifact.config["scene_scale"])
        names = check_cues(artifact.config["cues"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{artifact.folder}/config.json: key 'scene_scale' or 'cues': {error}"
        ) from error
    return read_cues(artifact, scale, names)


def read_cues(artifact: Artifact, scale: SceneScale, names: tuple[str, ...]) -> Cues:
    """Return cues whose arrays an artifact of any kind holds; raises ArtifactError."""
    appearances = artifact.tensor("cues.appearances", (None, artifact.layout.appearance))
    flows = artifact.tensor("cues.flows", (len(appearances), DIRECTIONS))
    moving = np.zeros(len(appearances), np.float32)
    if "cues.moving" in artifact.tensors:
        moving = artifact.tensor("cues.moving", (len(appearances),))
    cues = Cues(
        layout=artifact.layout,
        scale=scale,
        appearances=Memory(appearances, moving > 0),
        flows=Memory(flows, moving > 0),
        class_levels=artifact.tensor("cues.class_levels", (artifact.layout.classes,)),
        local=_read_local(artifact) if "local_velocity" in names else LocalVelocities.none(),
        term_names=names,
        normal_motion=_read_normal_motion(artifact),
        long_stay=_read_long_stay(artifact) if "stay" in names else math.inf,
    )
    for key in ("cues.appearances", "cues.flows"):
        if not len(cues.tensors()[key]):
            raise ArtifactError(
                f"{artifact.folder}: key {key!r} holds nothing; fit the model again"
            )
    if cues.class_levels.min(initial=1) <= 0:
        raise ArtifactError(
            f"{artifact.folder}: key 'cues.class_levels' has values of 0 or below; fit the model"
            " again"
        )
    return cues


def _read_local(artifact: Artifact) -> LocalVelocities:
    places = artifact.tensor("cues.places", (None, 2))
    return LocalVelocities(places, artifact.tensor("cues.velocities", (len(places), 2)))


def _read_normal_motion(artifact: Artifact) -> NormalMotion:
    found = {}
    for name in ("jitter", "support"):
        found[name] = float(artifact.tensor(f"cues.{name}", (1,))[0])
        if found[name] < 0:
            raise ArtifactError(
                f"{artifact.folder}: key 'cues.{name}' is {found[name]}, expected at least 0; fit"
                " the model again"
            )
    return NormalMotion(**found)


def _read_long_stay(artifact: Artifact) -> float:
    seconds = float(artifact.tensor("cues.long_stay", (1,))[0])
    if seconds <= 0:
        raise ArtifactError(
            f"{artifact.folder}: key 'cues.long_stay' is {seconds}, expected seconds above 0; fit"
            " the model again"
        )
    return seconds
