"""Importing what BackdoorBench has written: a backdoored model and its triggered test images."""
