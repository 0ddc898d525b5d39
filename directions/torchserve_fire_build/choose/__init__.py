"""The choice on held-out samples: where to detect, where to repair, and how strongly."""
