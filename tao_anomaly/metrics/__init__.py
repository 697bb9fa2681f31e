"""Anomaly detection metrics on plain arrays: NumPy and SciPy only, no torch, no ROS.

`frame` scores frames, `pixel` and `tao_pixel` score maps, `region_track` boxes (RBDC, TBDC; also a
command), `operating_point` boxes at one threshold; `text_formats` reads and writes AED text files.
"""
