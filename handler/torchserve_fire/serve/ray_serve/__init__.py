"""In Ray Serve: an application over `core`."""
