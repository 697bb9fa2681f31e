"""Datasets of video anomaly detection behind one interface: clips, frames and their labels."""
