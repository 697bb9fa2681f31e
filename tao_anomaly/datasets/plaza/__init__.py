"""Plaza: a rendered square with people, anomalies and exact ground truth."""
