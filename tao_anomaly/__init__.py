"""Object-level video anomaly detection for ROS 2 and for offline benchmarks."""

__version__ = "0.1.0"
