"""From a plain archive in production to a repaired one, on a real TorchServe."""
