"""`torchserve_fire.ray:app`, an application for Ray Serve (docs/ray-serve.md)."""

try:
    from .serve.ray_serve.application import app
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("ray", "starlette"):
        raise
    raise ModuleNotFoundError(
        f"{error}: pip install 'torchserve-fire[ray]'", name=error.name
    ) from None

__all__ = ["app"]
