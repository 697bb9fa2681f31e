"""The temporal masked autoencoder over track windows, and the artifact that stores a model."""
