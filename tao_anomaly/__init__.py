"""Object-level video anomaly detection for ROS 2 and for offline benchmarks."""

import os

__version__ = "0.1.0"

# Torch's OpenMP threads spin while they wait. Where other processes want the cores, as the nodes of
# one graph do, that made a forward pass 15 times slower. Read when torch is imported, so set first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# NumPy's threads (OpenBLAS) spin for 2^26 cycles after each matrix product. On two busy cores that
# made the next forward pass a fifth and the scoring a third slower. Now 2^4 cycles.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

# ONNX Runtime 1.29 and later reports on its use to its maker over the network, from its import on.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A header of a few bytes can claim an image of gigabytes. OpenCV refuses more pixels than this; it
# reads it when it is loaded.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**26))
