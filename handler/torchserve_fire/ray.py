"""`torchserve_fire.ray:app`, an application for Ray Serve (docs/ray-serve.md)."""

from .serve.ray_serve.application import app

__all__ = ["app"]
