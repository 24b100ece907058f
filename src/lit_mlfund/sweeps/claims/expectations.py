"""Parses the expectations that a claim implies, one line of text each, and tests them on the evidence."""

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
    """Holds a tested expectation: the difference of its two sides with the 95 % interval, and the outcome."""

    text: str
    difference: float
    low: float
    high: float
    outcome: Outcome


@dataclass(frozen=True)
class Expectation:
    """Represents one line such as `test/mae: loss=huber data.outliers=0.1 < loss=mse data.outliers=0.1`.

    A side is a number or some of the compared settings; the mean is taken over those that it does not name.
    The right side may be multiplied or shifted by a number: `… < loss=mse * 1.05`. `spread of test/mae: optim.lr >
    optim.weight_decay` compares how much the value changes when one key alone goes through its values.

    Differences are paired by seed; differences of spreads use a bootstrap over the combinations of the other keys.
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
        """Parse a line; ValueError where it is malformed or names a key that is not compared."""
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r}: expected `value: key=a … < key=b …`")
        value, left, sign, right = match["value"], match["left"], match["sign"], match["right"]
        spread, operation = bool(match["spread"]), match["operation"] or "*"
        for side in (left, right):
            keys = (
                [side]
                if spread
                else [part.partition("=")[0] for part in side.split() if not _is_number(part)]
            )
            for key in keys:
                if key not in compare:
                    raise ValueError(f"{text!r}: {key} is not compared; there is {', '.join(compare)}")
        return cls(text, value, left, sign, right, spread, operation, float(match["amount"] or 1.0))

    def judge(self, evidence: Evidence) -> Judged:
        """Test the expectation on the measurements."""
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
        # both means come from the same runs, grouped differently: variances are added as if independent
        half = math.hypot((a[2] - a[1]) / 2, (b[2] - b[1]) / 2)
        return a[0] - b[0], a[0] - b[0] - half, a[0] - b[0] + half


def spread_of(evidence: Evidence, key: str, name: str) -> list[float]:
    """Return the ranges of a value as `key` alone varies, one for each setting of the others and each seed."""
    ranges: list[float] = []
    for seed in evidence.seeds:
        values: dict[Setting, float] = {
            setting: record.value(name)
            for setting, records in evidence.groups.items()
            for record in records
            if record.seed == seed
        }
        ranges += spreads(values, evidence.compare.index(key))
    return ranges


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
