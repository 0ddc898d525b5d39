"""The meta-classifier (MNTD): it learns from shadow models how a backdoored model answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..common.budget import Budget
from ..common.progress import Progress
from ..measure.separation import area_under_curve
from ..samples.predict import differentiable_logits, logits_of, predicted_classes
from ..samples.samples import Samples
from .inspection import Inspection
from .shadow_models import Shadow, Task, obtain_shadows

NAME = "meta-classifier"

DEFAULT_SHADOWS = 64
"""Half of these have a backdoor. The paper trains 2048 with and 2048 without."""

MIN_SHADOWS = 16
"""With fewer shadow models, hardly any are left to measure the meta-classifier on."""

MAX_SAMPLES = 500
"""The most clean samples for the shadow models; the paper takes 2 % of the training set."""

CHECKED = 0.2
"""Share of these samples that shadow models do not learn from; their accuracy on this share shows
how well they know the task."""

MAX_GAP = 0.1
"""How much higher the inspected model's accuracy on this share may be: the meta-classifier knows
only answers of networks that know the task as well as the shadow models do."""

DEFAULT_QUERIES = 10
"""As in the paper, like the width of the hidden layer."""

HIDDEN = 20

EPOCHS = 30

RATE = 1e-3

HELD_OUT = 4
"""One in this many pairs of shadow models is kept to measure the meta-classifier on."""

MIN_SAMPLES = 20

MIN_AUC = 0.8
"""The least AUC on kept shadow models. Below it, the meta-classifier judges no other model."""


@dataclass(frozen=True)
class MetaClassifier:
    """Meta Neural Trojan Detection with jumbo learning (Xu et al. 2021, arXiv 1910.03137).

    Shadow networks with the architecture of the inspected model are trained on the clean samples,
    half of them with random backdoors (patches or blended patterns of random place, look, opacity
    and target). A meta-classifier reads the answers of a network to a few queries, and decides
    whether the network has a backdoor. The queries, which are inputs, are learnt together with it.

    As in the paper: jumbo learning; 10 queries; a hidden layer of 20; a score above the median of
    the shadow models' scores means a backdoor. Not as in the paper: far fewer shadow models;
    answers are log-probabilities, because a network that was trained for longer has larger logits;
    and the result may be that it cannot tell. There are two such cases. It fails on shadow models
    that were kept from it (the verdict names their AUC). Or the inspected model knows the task much
    better than the shadow models do, which the AUC does not show. Shadow models of another, smaller
    architecture were tried: however high this AUC was, benign models were taken as backdoored.

    It needs clean samples of the task. It costs the training of all shadow models, with a cache
    once per task and architecture; 16 of them are enough to see that they know too little. If the
    samples have no labels, the model's own predictions replace them; other models of the same task
    then cannot use the cached shadow models.

    Attributes:
        shadows: number of shadow models.
        cache: folder to keep them in; None to keep none.
        queries: number of queries to learn.
    """

    shadows: int = DEFAULT_SHADOWS
    cache: Path | None = None
    queries: int = DEFAULT_QUERIES

    def __call__(
        self,
        model: nn.Module,
        clean: Samples,
        classes: int,
        generator: torch.Generator,
        budget: Budget,
    ) -> Inspection:
        """Judge a model as a whole; see `inspection.inspection.Inspect`."""
        if len(clean) < MIN_SAMPLES:
            return Inspection(NAME, notes=(f"needs at least {MIN_SAMPLES} clean samples",))
        task = self._task(model, clean, classes, generator)
        shadows = obtain_shadows(task, range(MIN_SHADOWS), self.cache, budget)
        gap = _gap(model, task, shadows) if shadows else 0.0
        if gap > MAX_GAP:
            # No more shadow models are trained: they would not know the task better.
            return Inspection(NAME, notes=(_unlike(gap, len(task.learnt[0])),))
        shadows += obtain_shadows(task, range(MIN_SHADOWS, self.shadows), self.cache, budget)
        trained = (
            f"{len(shadows)} of {self.shadows} shadow models, half of them with a backdoor "
            "(the paper: 4096)"
        )
        if len(shadows) < MIN_SHADOWS:
            return Inspection(NAME, notes=(f"{trained}: too few, needs {MIN_SHADOWS}",))
        kept = [shadow for i, shadow in enumerate(shadows) if i // 2 % HELD_OUT == HELD_OUT - 1]
        learnt = [shadow for i, shadow in enumerate(shadows) if i // 2 % HELD_OUT != HELD_OUT - 1]
        judge = fit_judge(task, learnt, generator, self.queries)
        auc = judge.area_under_curve(kept)
        score, threshold = judge.score(logits_of(model, judge.queries.detach())), judge.threshold
        success = [shadow.success for shadow in shadows if shadow.trojaned]
        notes = (
            f"{trained}, whose triggers work on {100 * sum(success) / len(success):.0f} %",
            f"score {score:.2f}, threshold {threshold:.2f}; AUC on {len(kept)} kept shadow models "
            f"{auc:.2f}" + ("" if auc >= MIN_AUC else f", too little to tell (needs {MIN_AUC:g})"),
        )
        backdoored = score > threshold if auc >= MIN_AUC else None
        return Inspection(NAME, backdoored=backdoored, notes=notes)

    def _task(
        self, model: nn.Module, clean: Samples, classes: int, generator: torch.Generator
    ) -> Task:
        # Both are drawn first, so that the same seed gives the same task for any model.
        order = torch.randperm(len(clean), generator=generator)[:MAX_SAMPLES]
        seed = int(torch.randint(2**62, (), generator=generator))
        inputs = clean.load(order.tolist())
        known = clean.labels
        labels = predicted_classes(model, inputs) if known is None else known[order]
        return Task(model, inputs, labels, round(CHECKED * len(inputs)), classes, seed)


def _gap(model: nn.Module, task: Task, shadows: Sequence[Shadow]) -> float:
    """Return how much the model's accuracy exceeds that of shadow models without a backdoor."""
    inputs, labels = task.checked
    accuracy = float((predicted_classes(model, inputs) == labels).float().mean())
    theirs = [shadow.accuracy for shadow in shadows if not shadow.trojaned]
    return accuracy - sum(theirs) / len(theirs)


def _unlike(gap: float, learnt: int) -> str:
    return (
        f"shadow models learn from only {learnt} clean samples, and are unlike this model: its "
        f"accuracy on other samples is {100 * gap:.0f} points higher (at most {100 * MAX_GAP:.0f})"
    )


class Judge(nn.Module):
    """The meta-classifier: queries, and a network that reads the answers to them.

    Args:
        task: the task of the models that it judges.
        generator: source of the random numbers.
        queries: number of queries.

    Attributes:
        queries: the queries, (queries, *S) float32.
        threshold: a model with a higher score is taken as backdoored.
    """

    def __init__(self, task: Task, generator: torch.Generator, queries: int) -> None:
        super().__init__()
        # Only the architecture is needed; the weights are those of the shadow models.
        self._net = copy.deepcopy(task.model).cpu().requires_grad_(False)
        noise = torch.randn(queries, *task.inputs.shape[1:], generator=generator)
        self.queries = nn.Parameter(task.inputs.mean(0) + task.inputs.std() * noise)
        self.hidden = nn.Linear(queries * task.classes, HIDDEN)
        self.output = nn.Linear(HIDDEN, 1)
        for layer in (self.hidden, self.output):
            bound = 1 / math.sqrt(layer.in_features)
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.zero_()
        self.threshold = 0.0

    def answers(self, shadow: Shadow) -> Tensor:
        """Return the logits of a shadow model for the queries, (queries, classes) float32."""
        return differentiable_logits(self._net, self.queries, shadow.state)

    def forward(self, answers: Tensor) -> Tensor:
        """Return the score of a model, (), from its answers, (queries, classes) logits."""
        score: Tensor = self.output(self.hidden(answers.log_softmax(1).flatten()).relu())
        return score.squeeze()

    @torch.no_grad()
    def score(self, answers: Tensor) -> float:
        """Return the score of a model from its answers; backdoored models have higher scores."""
        return float(self(answers))

    def scores(self, shadows: Sequence[Shadow]) -> Tensor:
        """Return the scores of shadow models, (len(shadows),) float64."""
        return torch.tensor([self.score(self.answers(s)) for s in shadows], dtype=torch.float64)

    def area_under_curve(self, shadows: Sequence[Shadow]) -> float:
        """Return the AUC of the scores of shadow models of both kinds."""
        trojaned = torch.tensor([shadow.trojaned for shadow in shadows])
        scores = self.scores(shadows)
        return area_under_curve(scores[~trojaned], scores[trojaned]) or 0.0


def fit_judge(
    task: Task, shadows: Sequence[Shadow], generator: torch.Generator, queries: int
) -> Judge:
    """Train queries and meta-classifier together, on one shadow model at a time.

    Args:
        task: the task of the shadow models.
        shadows: shadow models with and without backdoors.
        generator: source of the random numbers.
        queries: number of queries.
    """
    judge = Judge(task, generator, queries)
    optimizer = torch.optim.Adam([p for p in judge.parameters() if p.requires_grad], RATE)
    with Progress("meta-classifier", EPOCHS) as progress:
        for _ in range(EPOCHS):
            for i in torch.randperm(len(shadows), generator=generator).tolist():
                score = judge(judge.answers(shadows[i]))
                wanted = torch.tensor(float(shadows[i].trojaned))
                loss = F.binary_cross_entropy_with_logits(score, wanted)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
            progress.advance()
    judge.threshold = float(judge.scores(shadows).quantile(0.5))
    return judge
