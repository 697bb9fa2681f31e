"""Frozen object detection with the detector's own feature pyramid."""
