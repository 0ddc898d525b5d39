"""Corrections attached to a model, for as long as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..errors import RepairError
from ..format.bundle import Repair
from .batch import count_samples, shared_arguments
from .layers import find_layer, is_compiled
from .own_tokens import own_tokens_of_call
from .pass_state import Attached, ThreadChoice
from .proof import prove
from .repetition import repeat_flagged
from .verdict import Verdict, judge_pass, predicted_classes, surely_clean


class RepairHandle:
    """Corrections attached to a model; `detach` or leaving the `with` block takes them off.

    Calls of the model by several threads at once do not disturb each other. Made by `attach`.

    A whole pass goes by the same corrections, those that are in use when it begins. So others can
    be proved beside them, in a thread of their own, and come into use while the model predicts.

    Args:
        model: what the corrections are attached to.
        attached: the corrections.
    """

    def __init__(self, model: nn.Module, attached: Attached) -> None:
        self._model = model
        self._attached = attached
        self._choice = ThreadChoice()
        self._removables: list[RemovableHandle] = []
        self._hooked: dict[str, RemovableHandle] = {}

    @property
    def verdict(self) -> Verdict:
        """The verdict on the latest forward pass that this thread made.

        Raises:
            RepairError: this thread made none.
        """
        return self._latest.verdict

    @property
    def passes(self) -> int:
        """How many forward passes a flagged sample costs, 1 or 2; 0 until that is known."""
        return self._attached.passes

    @property
    def passes_made(self) -> int:
        """How many forward passes this thread made; a repetition for flagged samples is none."""
        return self._latest.state.passes_made

    def detach(self) -> None:
        """Remove the hooks, and only these; a second call does nothing."""
        for removable in (*self._removables, *self._hooked.values()):
            removable.remove()
        self._removables.clear()
        self._hooked.clear()

    def __enter__(self) -> RepairHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.detach()

    @property
    def in_use(self) -> Attached:
        """The corrections by which passes go that choose no others."""
        return self._attached

    def use(self, attached: Attached) -> None:
        """Let the passes that begin from now on go by other corrections, which `prove` has seen."""
        self._attached = attached

    @contextmanager
    def choosing(self, attached: Attached) -> Iterator[None]:
        """Let this thread's passes go by these corrections while the block runs."""
        before, self._choice.chosen = self._choice.chosen, attached
        try:
            yield
        finally:
            self._choice.chosen = before

    def attach_hooks(self) -> None:
        """Attach the hooks of the model itself.

        They are the first of its own: what others have attached there sees the repaired output.
        """
        add = self._removables.append
        add(self._model.register_forward_pre_hook(self._begin, prepend=True, with_kwargs=True))
        add(self._model.register_forward_hook(self._end, with_kwargs=True, prepend=True))
        add(self._model.register_forward_hook(self._abandon, always_call=True))

    def prove(
        self,
        attached: Attached,
        repairs: Sequence[Repair],
        mode: str,
        predict: Callable[[], Any],
    ) -> None:
        """Hook the layers of corrections, and have the model predict to see that these work.

        Passes of other threads go by what is in use meanwhile.

        Args:
            attached: the corrections.
            repairs: what they were made of.
            mode: "repair" or "observe".
            predict: has the model predict once, in this thread.

        Raises:
            AttachError: the model has no such layer.
            RepairError: the corrections do not work. What was hooked for them alone is not any
                more.
        """
        before = set(self._hooked)
        try:
            for name in attached.layers:
                if name not in before:
                    self._hook_layer(name)
            with self.choosing(attached):
                prove(attached, repairs, mode, predict)
        except BaseException:
            self._unhook(set(self._hooked) - before)
            raise

    def unhook_others(self) -> None:
        """Unhook layers in which the corrections in use do nothing.

        No pass by other corrections may be running.
        """
        self._unhook(set(self._hooked) - set(self._attached.layers))

    @property
    def _latest(self) -> Attached:
        return self._choice.latest or self._attached

    def _hook_layer(self, name: str) -> None:
        choice = self._choice

        def run(module: nn.Module, args: Any, output: Any) -> Any:
            hook = (choice.latest or self._attached).layers.get(name)
            return None if hook is None else hook.run(module, args, output)

        if is_compiled(self._model):
            # Traced into the graph, a hook would not write down what it found.
            run = torch.compiler.disable(run)  # type: ignore[no-untyped-call]
        self._hooked[name] = find_layer(self._model, name).register_forward_hook(run)

    def _unhook(self, names: set[str]) -> None:
        for name in names:
            self._hooked.pop(name).remove()

    def _begin(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            # What the example's values decide would be traced as if it held for all inputs.
            raise RepairError("a model with corrections cannot be traced: detach them first")
        attached = self._choice.latest = self._choice.chosen or self._attached
        attached.state.begin()
        if attached.padding:
            attached.state.own = own_tokens_of_call(args, kwargs, attached.padding)

    def _end(self, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        """Judge a whole pass; return the output with what is flagged repaired, or None."""
        attached = self._latest
        state, judges, passes = attached.state, attached.judges, attached.passes
        state.order = state.close()
        # Of samples to be picked out of the inputs, nothing but the inputs says how many they are.
        scored = next(iter(state.scores.values()), None) if passes != 2 else None
        size = count_samples((*args, *kwargs.values()), output, scored)
        if passes == 0:
            attached.shared = shared_arguments(args, kwargs, size)
        classes = predicted_classes(attached.asking, output, size)
        for i, hook in attached.overlays.items():
            score = hook.score(args, kwargs, classes, size)
            if score is not None:
                state.scores[i] = score
        result = None
        if not state.forced and surely_clean(judges, state.scores, size):
            state.clean = (classes, size)
        else:
            verdict = judge_pass(judges, state.scores, output, size, forced=state.forced)
            if passes == 2:
                result = repeat_flagged(
                    self._model, attached, args, kwargs, output, verdict.flagged_by, size
                )
            state.verdict = verdict
        state.passes_made += 1
        return result

    def _abandon(self, module: nn.Module, args: Any, output: Any) -> None:
        """End a pass that raised: what runs after it runs outside a pass."""
        self._latest.state.fired = None
