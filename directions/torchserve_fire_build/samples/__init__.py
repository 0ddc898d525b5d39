"""Samples from a folder, a file or memory: read, labelled, paired, split into folds, predicted."""
