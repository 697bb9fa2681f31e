"""From windows to calibrated scores, thresholds and events."""
