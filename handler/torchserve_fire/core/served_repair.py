"""The repair of a model that is served: by which bundle batches are judged, and its exchange.

A batch is answered by one bundle as a whole. Another bundle proves itself beside the one that
serves, and then takes its place, between two batches, by one assignment. The weights stay as they
are, and there is no second copy of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import BundleError, ConfigError, FireError, SwapError
from ..format.bundle import Bundle, InputDescription
from ..model.config import HandlerConfig
from ..model.fit import with_digest_for, with_state_digest
from ..model.load_model import LoadedModel
from ..model.request_body import RequestBody
from ..repair.attach_layers import prove_beside
from ..repair.pass_state import Attached
from ..repair.repair_handle import RepairHandle
from ..watch.metrics import MetricsFor
from ..watch.quarantine_queue import QuarantineQueue
from ..watch.watch import Watch
from .answer import Answer
from .answering import Answering, Flags, Refusal, flags_of
from .bundle_folder import PATIENCE, BundleFolder
from .description import OwnInput, describe_worker
from .given_bundle import read_given
from .worker_start import (
    attach_bundle,
    attach_mode,
    check_bundle,
    is_trial,
    is_trial_as_server,
    make_quarantine,
    one_line,
)

logger = logging.getLogger(__name__)

Example = Tensor | Callable[[], Any]
"""What corrections are proved on, as `attach_layers` takes it."""


BATCH_SECONDS = 60.0
"""How long a swap waits at most for the batches that the old bundle answers."""


@dataclass
class InService:
    """What batches are answered by that begin now.

    Attributes:
        bundle: None where nothing is judged.
        attached: its corrections in the model.
        answering: what becomes of answers.
        watch: what is counted.
        batches: how many are on their way.
    """

    bundle: Bundle | None
    attached: Attached | None
    answering: Answering
    watch: Watch
    batches: int = 0


@dataclass
class _Started:
    """What another bundle is checked against, and proved with."""

    loaded: LoadedModel
    model: nn.Module
    described: InputDescription
    handle: RepairHandle
    example: Example
    first: Bundle


class _Answers(threading.local):
    """How many batches this thread answers now, one within another."""

    batches: int = 0


class ServedRepair:
    """The repair of one model that is served; several threads may answer batches at once.

    Args:
        config: the settings.
        served_as: the model's name and version.
        metrics: where counts go.
        source: the settings' file, for messages.
    """

    def __init__(
        self,
        config: HandlerConfig,
        served_as: tuple[str, str],
        metrics: MetricsFor,
        source: str = "model-config.yaml",
    ) -> None:
        self._config = config
        self._source = source
        self._served_as = served_as
        self._metrics = metrics
        self._changed = threading.Condition()
        self._swapping = threading.Lock()
        self._answers = _Answers()
        self._closed = False
        self._started: _Started | None = None
        self._quarantine: QuarantineQueue | None = None
        self._folder: BundleFolder | None = None
        self._now = self._in_service(None, None)
        self._replaced: list[InService] = []

    @property
    def bundle(self) -> Bundle | None:
        """The bundle that serves now; None where nothing is judged, or not yet."""
        return self._now.bundle

    @property
    def watch(self) -> Watch:
        """What is counted now."""
        return self._now.watch

    def start(
        self,
        loaded: LoadedModel,
        model: nn.Module,
        bundle: Bundle,
        described: InputDescription,
        example: Example,
    ) -> None:
        """Attach the first bundle, which `check_bundle` has seen, and prove that it works.

        Args:
            loaded: the model, and what its weights are known by.
            model: the same, compiled or not.
            bundle: that fits it.
            described: what the model takes.
            example: what corrections are proved on.

        Raises:
            AttachError: it cannot be attached, or does not work.
            ConfigError: the quarantine's folder takes no files, or the bundles' cannot be listed.
        """
        handle = attach_bundle(self._config, bundle, model, example)
        try:
            self._quarantine = make_quarantine(self._config, self._served_as[0], described)
            # A function is the handler's own, which is made for one thread.
            self._folder = self._bundle_folder(beside=isinstance(example, Tensor))
            self._now = self._in_service(bundle, handle.in_use)
        except BaseException:
            handle.detach()
            raise
        if self._folder is not None:
            # Else the first bundle that knows the weights by it would have a request wait for that.
            loaded = with_state_digest(loaded)
        self._started = _Started(loaded, model, described, handle, example, bundle)
        self._look(at_once=True, patience=None)

    def announce(self) -> None:
        """Say in the log what is served."""
        name = " ".join(self._served_as)
        bundle = self._now.bundle
        if bundle is None:
            logger.warning("torchserve-fire serves model %s WITHOUT repair: mode is off", name)
            return
        logger.info(
            "torchserve-fire serves model %s in mode %s with bundle %s, layers %s",
            name,
            self._config.mode,
            bundle.digest,
            ", ".join(f"{layer.name} ({layer.role})" for layer in bundle.layers),
        )

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Answer a batch by the bundle that serves when it begins, in this thread.

        Where the settings name a folder of bundles, that is looked at before. A bundle that proves
        itself meanwhile is waited for, `PATIENCE` seconds at most.

        Raises:
            FireError: nothing is served any more.
        """
        self._look()
        with self._changed:
            if self._closed:
                raise FireError(f"the model {self._served_as[0]} was closed, and answers no more")
            now = self._now
            now.batches += 1
        self._answers.batches += 1
        try:
            if self._started is None or now.attached is None:
                yield Batch(now)
            else:
                with self._started.handle.choosing(now.attached):
                    yield Batch(now)
        finally:
            self._answers.batches -= 1
            with self._changed:
                now.batches -= 1
                self._changed.notify_all()

    def swap(self, bundle: Bundle | Path | str | None) -> None:
        """Put another bundle in the place of the one that serves.

        It is checked and proved as the first one was, while that goes on answering, and takes its
        place between two batches. When this returns, no answer by the old one is on its way, or
        the log says that a batch does not end. The bundle that serves already is left as it is.

        Args:
            bundle: the file, or a bundle that was saved. Where the settings name trusted keys, a
                file that one of them has signed. None: the first one, which was checked at the
                start; in mode `off` there is none, and nothing happens.

        Raises:
            FireError: nothing is served any more.
            SwapError: the bundle cannot be read, is for another model or another input, is not
                signed, or does not work; or this thread answers a batch. The old one goes on
                serving, and nothing of the new one stays.
        """
        self._swap_to(bundle, BATCH_SECONDS)

    def _swap_to(self, bundle: Bundle | Path | str | None, seconds: float) -> None:
        if bundle is not None:
            self._swap(bundle, self._config.trusted_keys, seconds)
        elif self._started is not None:
            # Its file was checked at the start.
            self._swap(self._started.first, (), seconds)

    def _swap(
        self, bundle: Bundle | Path | str, trusted_keys: Sequence[str], seconds: float
    ) -> None:
        started = self._started
        if started is None:
            raise SwapError(
                f"{self._served_as[0]} is served in mode {self._config.mode}, in which no bundle "
                "judges: serve it in another mode"
            )
        handle = started.handle
        if self._answers.batches:
            raise SwapError("this thread answers a batch: a bundle is swapped between two of them")
        with self._swapping:
            if self._closed:
                raise FireError(f"{self._served_as[0]} was closed, and takes no bundle any more")
            old = self._now
            try:
                proved = self._proved(bundle, started, trusted_keys)
                if proved is None:
                    return
                new = self._in_service(*proved)
            except Exception as error:
                self._tidy(handle)
                old.watch.swap_refused()
                raise SwapError(
                    f"{one_line(error)}; {self._served_as[0]} goes on with the bundle "
                    f"{_digest_of(old.bundle)}"
                ) from error
            with self._changed:
                self._now = new
                self._replaced.append(old)
            # For passes in threads of a handler's own, which are of no batch.
            handle.use(proved[1])
            with self._changed:
                ended = self._changed.wait_for(lambda: old.batches == 0, seconds)
            self._tidy(handle)
            new.watch.swapped()
        logger.info(
            "torchserve-fire: %s goes on with the bundle %s in the place of %s",
            " ".join(self._served_as),
            _digest_of(new.bundle),
            _digest_of(old.bundle),
        )
        if not ended and seconds:
            logger.warning(
                "torchserve-fire: %s: %d batches that began with the bundle %s have not ended for "
                "%g s; those that begin now are answered by the new one",
                " ".join(self._served_as),
                old.batches,
                _digest_of(old.bundle),
                seconds,
            )

    def describe(
        self,
        described: InputDescription,
        own_input: OwnInput | None = None,
        *,
        patience: float | None = PATIENCE,
    ) -> dict[str, Any]:
        """Return what is served, and what was counted, of what JSON has.

        Args:
            described: what the model takes.
            own_input: where a handler of the archive prepares inputs, what is known of these.
            patience: as `BundleFolder.look` takes it, which looks before.
        """
        self._look(at_once=True, patience=patience)
        now = self._now
        return describe_worker(
            self._served_as,
            self._config.mode,
            now.bundle,
            described,
            now.watch.describe(),
            own_input,
            None if self._folder is None else self._folder.describe(),
        )

    def close(self) -> None:
        """Wait for the batches on their way, keep what waits to be kept, and take the repair off.

        A second call does nothing.

        Raises:
            FireError: this thread answers a batch, for which it would wait for ever.
        """
        if self._answers.batches:
            raise FireError(
                f"this thread answers a batch: {self._served_as[0]} is closed after it, or by "
                "another thread"
            )
        with self._swapping:
            with self._changed:
                self._closed = True
                self._changed.wait_for(lambda: not (self._now.batches or self._answered_by_old()))
            if self._started is not None:
                self._started.handle.detach()
            if self._quarantine is not None:
                self._quarantine.finish()
            for each in (*self._replaced, self._now):
                each.watch.flush()

    def _bundle_folder(self, *, beside: bool) -> BundleFolder | None:
        """Return the folder whose newest bundle serves; None where the settings name none.

        Args:
            beside: as `BundleFolder` takes it.

        Raises:
            ConfigError: it cannot be listed.
        """
        path = self._config.bundle_folder
        if path is None:
            return None
        folder = BundleFolder(path, " ".join(self._served_as), self._take, beside=beside)
        if is_trial():
            # Another machine may have the folder.
            return folder if is_trial_as_server() and path.is_dir() else None
        folder.check()
        return folder

    def _look(self, *, at_once: bool = False, patience: float | None = PATIENCE) -> None:
        """Take a bundle that was put into the folder, unless this thread answers a batch."""
        if self._folder is not None and not self._answers.batches and not self._closed:
            self._folder.look(at_once=at_once, patience=patience)

    def _take(self, file: Path | None) -> None:
        """Swap a bundle of the folder in, or the first one.

        Where a request waits for that, it does not wait for batches of other threads, too.
        """
        self._swap_to(file, 0.0)

    def _answered_by_old(self) -> bool:
        return any(each.batches for each in self._replaced)

    def _tidy(self, handle: RepairHandle) -> None:
        """Unhook what no batch goes by any more; nothing while an old bundle still answers one."""
        with self._changed:
            if self._answered_by_old():
                return
            replaced, self._replaced = self._replaced, []
        handle.unhook_others()
        for each in replaced:
            each.watch.flush()

    def _proved(
        self, given: Bundle | Path | str, started: _Started, trusted_keys: Sequence[str]
    ) -> tuple[Bundle, Attached] | None:
        """Check another bundle, and prove it beside the one that serves.

        Returns:
            It with its corrections; None where it serves already.

        Raises:
            FireError: it cannot be used, or does not work.
        """
        bundle, file = read_given(given, trusted_keys)
        if self._now.bundle is not None and bundle.digest == self._now.bundle.digest:
            return None
        started.loaded = with_digest_for(bundle, started.loaded)
        described = check_bundle(bundle, file, started.loaded, self._config, self._source)
        served = started.described
        if (described.kind, described.shape) != (served.kind, served.shape):
            raise BundleError(
                f"{file}: built for {described.kind} input of shape {list(described.shape)}, the "
                f"model is served with {served.kind} input of shape {list(served.shape)}"
            )
        attached = prove_beside(
            started.handle,
            started.model,
            bundle.layers,
            started.example,
            target=bundle.target,
            mode=attach_mode(self._config),
        )
        return bundle, attached

    def _in_service(self, bundle: Bundle | None, attached: Attached | None) -> InService:
        mode, quarantine = self._config.mode, self._quarantine
        try:
            metrics = self._metrics(*self._served_as, _digest_of(bundle))
            watch = Watch(metrics, self._served_as, bundle, mode, quarantine)
        except Exception as error:
            raise ConfigError(
                f"metrics: nothing can be counted there: {one_line(error)}"
            ) from error
        return InService(bundle, attached, Answering(self._config, bundle), watch)


def _digest_of(bundle: Bundle | None) -> str:
    return "" if bundle is None else bundle.digest


class Batch:
    """One batch on its way, in the thread that answers it.

    Args:
        now: what it is answered by.
    """

    def __init__(self, now: InService) -> None:
        self._now = now
        self._before = self._passes_made
        self._passes = 0
        self._flags: Flags | None = None

    def judge(
        self,
        size: int,
        positions: Sequence[int],
        request_ids: Mapping[int, str],
        reader: Callable[[int], Callable[[], Tensor | RequestBody]],
    ) -> None:
        """Say which requests were flagged, once the batch was predicted, and take note of them.

        Args:
            size: number of requests.
            positions: the requests that the samples of the forward pass stand for, in their order.
            request_ids: the server's, by the request's place in the batch.
            reader: returns what reads a request's input, for the quarantine, by its place.
        """
        attached = self._now.attached
        self._passes = self._passes_made - self._before
        # After several passes, the verdict is on the last one only.
        verdict = attached.verdict if attached and positions and self._passes == 1 else None
        self._flags = flags = flags_of(size, positions, verdict)
        if verdict is None or flags is None or all(flag is None for flag in flags):
            return
        self._now.watch.judged(verdict, flags, request_ids)
        for i, flag in enumerate(flags):
            if flag:
                self._now.watch.keep(reader(i))

    def answer(self, index: int, body: Any) -> Answer:
        """Return a request's answer, with what was found of it, or the refusal in its place.

        Args:
            index: of the request in the batch.
            body: its answer.
        """
        flag = None if self._flags is None else self._flags[index]
        outcome = self._now.answering.outcome(flag, self._passes)
        if outcome.refusal is not None:
            return self.refuse(outcome.refusal, outcome.headers)
        return Answer(
            200, self._now.answering.with_verdict(body, outcome.flag), dict(outcome.headers)
        )

    def refuse(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> Answer:
        """Count a refusal, and return it as the request's answer."""
        self._now.watch.refused(refusal.kind, refusal.reason)
        return Answer(refusal.status, refusal.body, dict(headers or {}))

    @property
    def _passes_made(self) -> int:
        attached = self._now.attached
        return attached.state.passes_made if attached else 0
