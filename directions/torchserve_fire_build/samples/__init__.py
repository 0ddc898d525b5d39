"""Samples of a folder, a file or memory: read, labelled, paired, dealt to folds, predicted."""
