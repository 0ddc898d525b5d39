"""From a layer's features to directions: moments, detectors, and repairs to choose from."""
