"""Encoders and checkpoints on disk: safetensors, JSON, model cards, a model hub."""
