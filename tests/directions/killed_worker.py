"""A model file that kills the worker of Ray that loads it, once."""

from pathlib import Path

DEADLY = """

import os, signal

if any("ray::" in part for part in open("/proc/self/cmdline").read().split(chr(0))):
    if os.path.exists({mark!r}):
        os.remove({mark!r})
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killing_once(text: str, mark: Path) -> str:
    """Return a model file's text; while the file `mark` is there, a worker that loads it is killed.

    Whoever is killed removes the mark. Other processes load the model as ever.
    """
    return text + DEADLY.format(mark=str(mark))
