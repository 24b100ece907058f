"""Defines what comparing the splits of a data set, and looking at its single rows, has shown."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lit_mlfund.diagnostics.measures.interval import Measure

UNKNOWN = Measure(math.nan)


@dataclass(frozen=True)
class ColumnShift:
    """Compares a column in training with the same column in a later split.

    q       share of false alarms among all columns with a test as clear as this one
    psi     population stability index
    null    the index that splits drawn alike exceed once in 100 columns
    """

    column: str
    split: str
    q: float
    psi: float
    null: float


@dataclass(frozen=True)
class Unit:
    """Describes a column whose later values fit those of training in another scale, and from another zero.

    psi, psi_after  distance from training as it is, and in the scale of training
    gain            of the probe's loss where they are in the scale of training, over the constant's loss
    """

    column: str
    split: str
    factor: float
    psi: float
    psi_after: float
    gain: Measure


@dataclass(frozen=True)
class Filled:
    """Describes a value that many rows of a later split have and hardly any row of training.

    cost    by how much the probe's loss on these rows is above that in training, times their share, over the constant's
    """

    column: str
    split: str
    value: float
    share: float
    share_train: float
    cost: Measure


@dataclass(frozen=True)
class Unseen:
    """Describes categories that no row of training has; `cost` as in `Filled`."""

    column: str
    split: str
    share: float
    example: str
    cost: Measure


@dataclass(frozen=True)
class Labels:
    """Compares the targets of training and a later split.

    distance  half the sum of absolute differences of the shares of classes, or of means in standard deviations
    p         chance of such a distance between splits drawn alike
    gain      of the loss where predictions are moved to the later shares or mean, over the constant's loss
    """

    split: str
    distance: float
    p: float
    gain: Measure


@dataclass(frozen=True)
class Cost:
    """Holds what the probe loses between training and a later split, over the constant's loss in training.

    total      loss in the split, less that on training rows held out of the fit
    features   part of it that is gone where rows count by how common they are in training
    relation   the rest: it remains on rows like those of training
    auroc      of telling rows of the split from rows of training
    effective  number of rows of the split that are like those of training
    """

    split: str
    total: Measure
    features: Measure
    relation: Measure
    auroc: Measure
    effective: float


@dataclass(frozen=True)
class Strength:
    """Holds what one feature tells by itself: the share of the constant's loss that it saves on other rows.

    others      what all other features tell together, where that was asked
    separation  share of the variance of the feature, or of its ranks, that lies between classes, likewise
    """

    column: str
    skill: Measure
    others: float = math.nan
    separation: float = 1.0


@dataclass(frozen=True)
class Overlap:
    """Describes an identifier whose values lie in training and test.

    share   of the test rows whose value occurs in training
    rows    of training by value
    cost    by how much the loss rises where all rows of a value are held out together, over the constant's loss
    """

    column: str
    values: int
    share: float
    rows: float
    cost: Measure


@dataclass(frozen=True)
class Duplicates:
    """Describes test rows whose features are those of a training row.

    exact, near  number of them: all inputs equal, and equal but for rounding or the order of words
    rows         some of them, and `copies` the rows of training that they equal
    kinds        number of different training rows, over that of all of them
    same_target  share of them that have the target of that training row
    clean        the model's mean loss on all other test rows, and `duplicated` that on these
    gain         by how much the model is better there than a probe that has not seen the copies, compared with the
                 other rows; over the constant's loss
    copied       by how much the target of the copy is nearer to the truth than the probe, or than a constant
    compared     whether a probe was possible
    """

    exact: int
    near: int
    share: float
    kinds: float
    same_target: float
    rows: list[int] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    clean: Measure = UNKNOWN
    duplicated: Measure = UNKNOWN
    gain: Measure = UNKNOWN
    copied: Measure = UNKNOWN
    compared: bool = False


@dataclass(frozen=True)
class Noise:
    """Describes labels that contradict what predictions of held-out rows are surest of.

    share     of labels that are wrong even where the margin is largest
    statistic twice the gain in log-likelihood over margins without wrong labels
    model     the same share, from the margins of the trained model
    rows      rows of the file whose label is most surely wrong, the surest first
    suspects  number of all such rows among those that were looked at
    """

    share: Measure
    statistic: float
    model: Measure
    looked_at: int
    suspects: int
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Heavy:
    """Describes the fewest rows that carry more than half of the loss.

    count     of them, among `total` rows
    expected  their number if errors were as the model's own probabilities say, or normally distributed
    loss      their mean loss, over the constant's
    """

    split: str
    total: int
    count: int
    expected: float
    loss: float
    rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class DataEvidence:
    """Holds what the rules on data read.

    by              what the split follows: time, group, rows (at random) or files
    rows            rows looked at, by split
    features        columns that were compared
    floor           loss of a constant in training, the unit of all costs
    held_out        loss of the probe on training rows held out of its fit, over `floor`
    columns         columns that have moved
    auroc           of telling rows of test from those of training, for each split
    recent          gain of a probe of the latest training rows over one of the earliest, over `floor`
    dropped         categories that were left out as their values differ between the splits, with the reason
    counters        features that number the rows of the file, and what each of them tells
    excluded        columns that are left out already, for the fixes
    missing         what was not looked at, and why
    """

    task: str
    by: str = "rows"
    rows: dict[str, int] = field(default_factory=dict)
    features: int = 0
    floor: float = math.nan
    held_out: float = math.nan
    columns: list[ColumnShift] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    filled: list[Filled] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    recent: Measure = UNKNOWN
    strengths: list[Strength] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    duplicates: Duplicates | None = None
    noise: Noise | None = None
    heavy: list[Heavy] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    counters: list[Strength] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
