"""Keeping the contents of requests out of the log of TorchServe's front end.

Where TorchServe cannot decode a form, it logs an exception of Netty's, whose message quotes the
form. With the configuration that is written here, it logs only where it failed. Log4j merges this
over TorchServe's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

VARIABLE = "LOG4J_CONFIGURATION_FILE"
FILE = "log4j2-front-end.xml"
CONFIGURATION = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Appenders>
    <Console name="FRONT_END" target="SYSTEM_OUT">
      <PatternLayout
        pattern="%d{ISO8601} [%-5p] %t %c - %m%ex{short.className}.%ex{short.methodName}%n"/>
    </Console>
  </Appenders>
  <Loggers>
    <Logger name="org.pytorch.serve.http.HttpRequestHandler" level="info" additivity="false">
      <AppenderRef ref="FRONT_END"/>
    </Logger>
  </Loggers>
</Configuration>
"""


def without_content(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which a TorchServe quotes no request in its log.

    Args:
        folder: for the configuration; it is there as long as the server.
        environment: of the server. A Log4j configuration that it names stays as it is.
    """
    if VARIABLE in environment:
        return {}
    file = folder / FILE
    file.write_text(CONFIGURATION)
    return {VARIABLE: f"classpath:log4j2.xml,{file.resolve().as_uri()}"}
