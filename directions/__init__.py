"""What runs beforehand: from calibration samples to a bundle, and from there to a server."""
