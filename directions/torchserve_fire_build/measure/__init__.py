"""Figures of a model and of a repair: target, accuracies, anomaly index."""
