"""What would have to be measured for a claim to hold, as lines of text that are held against the evidence."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from lit_mlfund.references.comparison import bootstrap_mean, paired_interval, spreads
from lit_mlfund.sweeps.claims.records import Evidence, Setting

Outcome = Literal["holds", "contrary", "no difference beyond chance", "not measured"]

_LINE = re.compile(
    r"(?P<spread>spread of )?(?P<value>[^:]+): (?P<left>.+?) (?P<sign>[<>]) "
    r"(?P<right>.+?)(?: (?P<operation>[*+-]) (?P<amount>[\d.e-]+))?"
)


@dataclass(frozen=True)
class Judged:
    """An expectation, the difference of its two sides with the 95 % interval, and what follows."""

    text: str
    difference: float
    low: float
    high: float
    outcome: Outcome


@dataclass(frozen=True)
class Expectation:
    """One line such as `test/mae: loss=huber data.outliers=0.1 < loss=mse data.outliers=0.1`.

    A side is a number or some of the compared settings; over those that it does not name the mean is taken.
    The right side may be multiplied by, or moved by, a number: `… < loss=mse * 1.05`. `spread of test/mae: optim.lr >
    optim.weight_decay` compares how far the value moves when one key alone goes through its values.

    Differences are paired by seed; those of spreads, by a bootstrap over the combinations of the other keys.
    """

    text: str
    value: str
    left: str
    sign: str
    right: str
    spread: bool = False
    operation: str = "*"
    amount: float = 1.0

    @classmethod
    def parse(cls, text: str, compare: list[str]) -> Expectation:
        """Read a line; ValueError where it cannot be, or names a key that is not compared."""
        found = _LINE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r}: expected `value: key=a … < key=b …`")
        value, left, sign, right = found["value"], found["left"], found["sign"], found["right"]
        spread, operation = bool(found["spread"]), found["operation"] or "*"
        for side in (left, right):
            keys = (
                [side]
                if spread
                else [part.partition("=")[0] for part in side.split() if not _is_number(part)]
            )
            for key in keys:
                if key not in compare:
                    raise ValueError(f"{text!r}: {key} is not compared; there is {', '.join(compare)}")
        return cls(text, value, left, sign, right, spread, operation, float(found["amount"] or 1.0))

    def judge(self, evidence: Evidence) -> Judged:
        """Hold the line against what was measured."""
        difference, low, high = self._spreads(evidence) if self.spread else self._values(evidence)
        return Judged(self.text, difference, low, high, self._outcome(difference, low, high))

    def _outcome(self, difference: float, low: float, high: float) -> Outcome:
        if math.isnan(low):
            return "not measured"
        if (high < 0) if self.sign == "<" else (low > 0):
            return "holds"
        if (low > 0) if self.sign == "<" else (high < 0):
            return "contrary"
        return "no difference beyond chance"

    def _values(self, evidence: Evidence) -> tuple[float, float, float]:
        left = self._side(self.left, evidence)
        right = self._side(self.right, evidence)
        amount = self.amount if self.operation != "-" else -self.amount
        right = {
            seed: value * amount if self.operation == "*" else value + amount for seed, value in right.items()
        }
        return paired_interval(left, right)

    def _side(self, text: str, evidence: Evidence) -> dict[str, float]:
        if _is_number(text):
            return dict.fromkeys(evidence.seeds, float(text))
        wanted = dict(part.partition("=")[::2] for part in text.split())
        return evidence.by_seed(evidence.matching(wanted), self.value)

    def _spreads(self, evidence: Evidence) -> tuple[float, float, float]:
        left, right = (spread_of(evidence, key, self.value) for key in (self.left, self.right))
        size = min(len(left), len(right))
        if not size:
            return math.nan, math.nan, math.nan
        a, b = bootstrap_mean(left), bootstrap_mean(right, seed=1)
        # the two means come from the same runs in other groups: their variances are added, as if independent
        half = math.hypot((a[2] - a[1]) / 2, (b[2] - b[1]) / 2)
        return a[0] - b[0], a[0] - b[0] - half, a[0] - b[0] + half


def spread_of(evidence: Evidence, key: str, name: str) -> list[float]:
    """How far a value moves when `key` alone goes through its values, for each setting of the others and each seed."""
    found: list[float] = []
    for seed in evidence.seeds:
        values: dict[Setting, float] = {
            setting: record.value(name)
            for setting, records in evidence.groups.items()
            for record in records
            if record.seed == seed
        }
        found += spreads(values, evidence.compare.index(key))
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
