"""Benchmarking: datasets, features, baselines and metrics joined into one honest table."""
