"""What one thread's current forward pass has seen, and what all passes by one bundle share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from torch import Tensor

from ..errors import RepairError
from .input_hook import InputHook, OverlayHook
from .verdict import Judge, Verdict, clean_verdict

if TYPE_CHECKING:
    from .layer_hook import LayerHook


class PassState(threading.local):
    """What one thread's current forward pass has seen; each thread has one of its own.

    Args:
        expected: the names of the layers that run once in every pass.

    Attributes:
        fired: names of the layers that ran, in their order; None outside a forward pass.
        order: `fired` of the latest whole pass.
        repeating: the repair by which a second pass, of flagged samples only, moves; None in the
            first pass.
        forced: whether every sample counts as flagged, to prove the corrections.
        passes_made: whole passes so far; a repetition for flagged samples is none.
        scores: projections at the detecting layer of each repair, (N,) float32, by its index.
        own: which tokens of the model's inputs are no padding, (N, T) bool; None where no layer
            asks for it.
        verdict: on the latest whole pass.
        clean: of the latest whole pass, where surely nothing is flagged: the predicted classes, and
            how many samples. The verdict is made of these and the scores once it is asked for.
    """

    fired: list[str] | None = None
    order: Sequence[str] = ()
    repeating: int | None = None
    forced: bool = False
    passes_made: int = 0
    scores: dict[int, Tensor]
    own: Tensor | None = None
    verdict: Verdict | None = None
    clean: tuple[Tensor | None, int] | None = None

    def __init__(self, expected: frozenset[str]) -> None:
        self._expected = expected
        self.scores = {}

    def __reduce__(self) -> NoReturn:
        raise _not_copied()

    def begin(self) -> None:
        """Begin a whole pass."""
        self.fired = []
        self.scores, self.verdict, self.clean = {}, None, None

    def close(self) -> list[str]:
        """End a pass, and return the layers in the order in which they ran.

        Raises:
            RepairError: one did not run.
        """
        fired, self.fired = self.fired or [], None
        # None fires twice.
        if len(fired) < len(self._expected):
            missing = sorted(self._expected - set(fired))
            raise RepairError(
                f"layer {missing[0]!r} did not run, or its hook did not fire, in a forward pass: "
                "the input would be answered without repair; if the model was compiled, and run, "
                "before the corrections were attached, call torch.compiler.reset() first"
            )
        return fired


@dataclass
class Attached:
    """Corrections made ready for a model, and what all passes by them share.

    Attributes:
        state: of each thread.
        judges: one for each repair; none where every input is corrected.
        passes: forward passes that a flagged sample costs, 1 or 2; 0 until that is known.
        shared: arguments of the model, by position or name, that had no row for each sample in the
            proof: they are for the whole batch, even if they happen to be as long.
        inputs: what acts on the model's input, by the index of its repair.
        overlays: those of them that score it, too.
        asking: those of the judges that ask for the prediction in every pass.
        layers: what acts in each layer, by the layer's name.
        padding: what the model's arguments hold where a text is filled up; empty where no layer
            judges single tokens.
    """

    state: PassState
    judges: list[Judge] = field(default_factory=list)
    passes: int = 0
    shared: frozenset[int | str] = frozenset()
    inputs: dict[int, InputHook] = field(default_factory=dict)
    overlays: dict[int, OverlayHook] = field(default_factory=dict)
    asking: Sequence[Judge] = ()
    layers: dict[str, LayerHook] = field(default_factory=dict)
    padding: tuple[int, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The verdict on the latest forward pass that this thread made by these corrections.

        Raises:
            RepairError: this thread made none.
        """
        state = self.state
        if state.verdict is None:
            if state.clean is None:
                raise RepairError("no forward pass was made since the corrections were attached")
            state.verdict = clean_verdict(self.judges, state.scores, *state.clean)
        return state.verdict


class ThreadChoice(threading.local):
    """By which corrections one thread runs a model that may have several; each thread has its own.

    Attributes:
        chosen: for the passes that begin from now on; None: those that are in use.
        latest: of the latest pass, or of the one that is running; None before the first.
    """

    chosen: Attached | None = None
    latest: Attached | None = None

    def __reduce__(self) -> NoReturn:
        raise _not_copied()


def _not_copied() -> RepairError:
    return RepairError("a model with corrections cannot be copied or saved: detach them first")
