"""Backdoored classifiers, trained here from recipes."""
