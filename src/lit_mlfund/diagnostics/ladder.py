"""Places a model between the constant predictor and the best reference, metric by metric, on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from lit_mlfund.diagnostics.evidence import Evidence, Measure

FLOORS = ("constant", "random", "unigram")  # predictors that know nothing of the features
# a constant is perfectly calibrated: these do not tell signal from none, and are judged against chance elsewhere
NOT_COMPARED = ("ece", "ece_null")
# in which training and test rows are compared: r2 rather than rmse, as the spread of the target differs by split
PRIMARY = {"binary": "log_loss", "multiclass": "log_loss", "regression": "r2", "ranking": "ndcg@10"}
JUDGED = {  # metrics of which a gap is worth a warning, beside the monitored one
    "binary": ("log_loss", "auroc"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("rmse", "mae"),
    "ranking": ("ndcg@10",),
}


@dataclass(frozen=True)
class Gap:
    """Holds how far a reference is ahead of the model.

    metric, reference  of the comparison
    gain               of the model over the reference, paired; below zero
    share              of what the reference gains over the floor that the model lacks
    skill              of the way from the floor to perfection that the model lacks
    """

    metric: str
    reference: str
    gain: Measure
    share: float
    skill: float


class Ladder:
    """Answers where a model stands, from the paired comparisons of `evidence`."""

    def __init__(self, evidence: Evidence):
        self.evidence = evidence
        self.floor = next((name for name in FLOORS if name in evidence.references), None)
        self.learned = [name for name in evidence.references if name not in FLOORS]
        test = evidence.splits.get("test", {})
        self.metrics = [m for m in evidence.directions if m in test and m not in NOT_COMPARED]
        wanted = PRIMARY.get(evidence.task, evidence.monitor)
        self.primary = wanted if wanted in self.metrics else evidence.monitor
        judged = (evidence.monitor, *JUDGED.get(evidence.task, ()))
        self.judged = [metric for metric in dict.fromkeys(judged) if metric in self.metrics]

    def skill(self, metric: str, value: float) -> float:
        """Return the share of the way from the floor to perfection that `value` has come; below 0 it is behind."""
        if self.floor is None:
            return math.nan
        floor = self.evidence.references[self.floor][metric].value
        perfect = 1.0 if self.evidence.directions[metric] == "max" else 0.0
        return (value - floor) / (perfect - floor) if perfect != floor else math.nan

    def test_skill(self, metric: str) -> float:
        """Return the skill of the model on the test rows."""
        return self.skill(metric, self.evidence.splits["test"][metric].value)

    def best_skill(self, metric: str) -> float:
        """Return the skill of the best reference that has learned something; NaN where there is none."""
        references = self.evidence.references
        skills = [
            self.skill(metric, references[name][metric].value)
            for name in self.learned
            if metric in references[name]
        ]
        return max(skills, default=math.nan)

    def above_floor(self) -> list[str]:
        """Return the metrics in which the model is better than the floor, beyond the paired interval."""
        gains = self.evidence.gains.get(self.floor or "", {})
        return [metric for metric in self.metrics if metric in gains and gains[metric].above]

    def below_floor(self) -> list[str]:
        """Return the metrics in which the model is worse than the floor, beyond the paired interval."""
        gains = self.evidence.gains.get(self.floor or "", {})
        return [metric for metric in self.metrics if metric in gains and gains[metric].below]

    def signal(self) -> list[str]:
        """Return the learned references that are better than the floor in any metric, beyond the paired interval."""
        gains = self.evidence.floor_gains
        return [
            name
            for name in self.learned
            if any(g.above for m, g in gains.get(name, {}).items() if m in self.metrics)
        ]

    def gaps(self) -> Iterator[Gap]:
        """Yield for each metric the reference that is furthest ahead of the model beyond its paired interval."""
        for metric in self.metrics:
            gains = {
                name: self.evidence.gains[name][metric]
                for name in self.learned
                if metric in self.evidence.gains[name]
            }
            behind = {name: gain for name, gain in gains.items() if gain.below}
            if behind:
                name = min(behind, key=lambda name: behind[name].value)
                yield Gap(
                    metric,
                    name,
                    behind[name],
                    self._share(metric, name, behind[name]),
                    self.skill(metric, self.evidence.references[name][metric].value)
                    - self.test_skill(metric),
                )

    def _share(self, metric: str, name: str, gain: Measure) -> float:
        over = self.evidence.floor_gains.get(name, {}).get(metric)
        return -gain.value / over.value if over is not None and over.above else math.nan

    def train_skill(self, metric: str) -> float:
        """Return the skill on training rows in evaluation mode; NaN where it was not measured."""
        return (
            self.skill(metric, self.evidence.training[metric].value)
            if metric in self.evidence.training
            else math.nan
        )

    def training_beyond_test(self, metric: str) -> bool:
        """Return whether training rows are predicted better than test rows, beyond both intervals."""
        train, test = self.evidence.training.get(metric), self.evidence.splits["test"].get(metric)
        if train is None or test is None:
            return False
        return train.low > test.high if self.evidence.directions[metric] == "max" else train.high < test.low

    def train_signal(self) -> bool:
        """Return whether the training rows are predicted better than the floor predicts, beyond their interval."""
        if self.floor is None:
            return False
        for metric in self.metrics:
            train, floor = (
                self.evidence.training.get(metric),
                self.evidence.references[self.floor].get(metric),
            )
            if train is None or floor is None:
                continue
            if (
                (train.low > floor.high)
                if self.evidence.directions[metric] == "max"
                else (train.high < floor.low)
            ):
                return True
        return False
