"""From a layer's features to directions: moments, detectors, and the repairs to choose from."""
