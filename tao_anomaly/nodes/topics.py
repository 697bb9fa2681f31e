"""Topic names, relative to the namespace: one set of stages a namespace, one namespace a camera.

They are the same whether the stages run in one process or in several.
"""

from __future__ import annotations

IMAGE = "image_raw"
CAMERA_INFO = "camera_info"
TRACKS = "detector/tracks"
FEATURES = "detector/features"
LABEL_INFO = "detector/label_info"
WINDOWS = "track_buffer/windows"
ANOMALIES = "scorer/anomalies"
EVENTS = "scorer/events"
OVERLAY = "overlay/image"
ANNOTATIONS = "overlay/annotations"
MARKERS = "overlay/markers"
