"""What an archive's code finds around it: its folder, its own modules, and no accelerator.

A worker process runs the code of one archive. Here several archives may be opened one after the
other, beside this program's own modules, and what their code changes of the process is put back.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch

from torchserve_fire.model.other_modules import lies_in, without_other_modules

NO_ACCELERATOR = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""With the second, torch looks at the first each time, and not once for all."""

_all: weakref.WeakSet[Surroundings] = weakref.WeakSet()


class Surroundings:
    """The surroundings of one archive's code.

    Args:
        folder: the unpacked archive: the code's working folder, from which it imports. A whole
            path without links.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._modules: dict[str, ModuleType] = {}
        self._paths: list[str] = []
        _all.add(self)
        # Their folder is temporary: nobody may find them later.
        weakref.finalize(self, _forget, self._modules)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Run a block in them. What the code prints is its own, and is left out."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._imports())
            stack.enter_context(_process_as_before())
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            os.chdir(self.folder)
            yield

    @contextlib.contextmanager
    def _imports(self) -> Iterator[None]:
        """Let the block import from the folder, and find what it imported before."""
        for other in _all:
            if other is not self:
                other._set_aside()
        with without_other_modules(self.folder):
            sys.modules.update(self._modules)
            before, paths, bytecode = set(sys.modules), sys.path[:], sys.dont_write_bytecode
            sys.path[:0] = [str(self.folder), *self._paths]
            sys.dont_write_bytecode = True
            try:
                yield
            finally:
                sys.dont_write_bytecode = bytecode
                # A handler may lengthen the path when it starts, and import from there later.
                known = {str(self.folder), *paths}
                self._paths = [path for path in sys.path if path not in known]
                sys.path[:] = paths
                for name in set(sys.modules) - before:
                    if lies_in(sys.modules[name], self.folder):
                        self._modules[name] = sys.modules[name]

    def _set_aside(self) -> None:
        for name, module in self._modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


@contextlib.contextmanager
def _process_as_before() -> Iterator[None]:
    """Put back what a handler may change of the whole process."""
    folder = Path.cwd()
    environment = {name: os.environ.get(name) for name in NO_ACCELERATOR}
    os.environ.update(NO_ACCELERATOR)
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    root, disabled = logging.root, logging.root.manager.disable
    level, handlers = root.level, root.handlers[:]
    loggers = {
        one: one.disabled
        for one in list(root.manager.loggerDict.values())
        if isinstance(one, logging.Logger)
    }
    # A handler's log is the worker's, and none of this command's.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
        for one, was_disabled in loggers.items():
            one.disabled = was_disabled
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        os.chdir(folder)


def _forget(modules: dict[str, ModuleType]) -> None:
    for name, module in modules.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
