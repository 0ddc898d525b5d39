"""Refusing TorchServe's `service_envelope`, which regroups a batch before a handler sees it.

What a handler is given then are not requests. A status or a header that it sets would be another
request's, or nobody's.
"""

from __future__ import annotations

import sys
from types import FrameType

from ..errors import ConfigError


def refuse_envelope() -> None:
    """Refuse to start inside an envelope.

    Raises:
        ConfigError: the server, or the model's configuration, names one.
    """
    envelope = _envelope()
    if envelope:
        raise ConfigError(
            f"service_envelope={envelope} (TorchServe's config.properties): the repair is told for "
            "each request, and an envelope regroups them: remove it; the Open Inference Protocol "
            "(KServe v2) is answered without one"
        )


def _envelope() -> str | None:
    """Return the envelope that TorchServe puts around the handler that it is starting.

    It tells a handler nothing of it, so its loader, which is calling, is looked at.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "load" and frame.f_globals.get("__name__") == "ts.model_loader":
            envelope: str | None = frame.f_locals.get("envelope")
            return envelope
        frame = frame.f_back
    return None
