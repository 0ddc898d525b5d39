"""What the server prints: the SDK's log, with what this project says in the same form."""

from __future__ import annotations

import warnings

from kserve.logging import KSERVE_LOG_CONFIG, KSERVE_TRACE_LOGGER_NAME, configure_logging

OURS = tuple(f"torchserve_fire.{name}" for name in ("core", "repair", "serve", "watch"))


def configure_logs() -> None:
    """Set up the log; to be called before a model is opened."""
    ours = {"handlers": ["kserve"], "level": "INFO", "propagate": False}
    loggers = {**KSERVE_LOG_CONFIG["loggers"], **dict.fromkeys(OURS, ours)}
    # Two lines for each request, besides the one of the access log.
    loggers[KSERVE_TRACE_LOGGER_NAME] = {"level": "WARNING"}
    # The SDK's own way of answering, of which FastAPI would speak at each health check.
    warnings.filterwarnings("ignore", "ORJSONResponse is deprecated")
    configure_logging({**KSERVE_LOG_CONFIG, "loggers": loggers})
