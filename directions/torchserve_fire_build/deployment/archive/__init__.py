"""Archives: packed, signed, proved in a worker's process, and given another bundle."""
