"""Tests a claim about training on the runs of a sweep, and writes one page with a table and one picture."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import write_bytes, write_text
from lit_mlfund.references.comparison import mean_interval
from lit_mlfund.reports.tables import number
from lit_mlfund.sweeps.claims.expectations import Expectation, Judged
from lit_mlfund.sweeps.claims.records import Evidence, Record, Setting, read_records

PANEL_SIZE = 5.2, 3.9  # inches
MAX_ROWS = 48  # of the table with one row per setting


@dataclass(frozen=True)
class Claim:
    """Defines a claim, the settings that are compared to test it, and the results that it predicts.

    Args:
        statement: the claim in one sentence.
        compare: the swept keys whose values are compared with each other; `seed` is swept beside them.
        values: the columns of the table; see `Record.value` for those available.
        expect: lines such as `test/mae: loss=huber < loss=mse`; see `Expectation`. The claim holds if all of them do.
        panels: the panels of the picture: `Lines`, `Dots`, `Curves`, `Spreads`.
        choose: a key whose best value on validation is chosen for each setting, such as `optim.lr`.
        labels: readable names of keys and of settings (`callbacks=none`).
        note: how it was tested, and what the reader must know to judge it.
    """

    statement: str
    compare: list[str]
    values: list[str]
    expect: list[str]
    panels: list[Any]
    choose: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        for line in self.expect:
            Expectation.parse(line, self.compare)
        if self.choose is not None and self.choose not in self.compare:
            raise ValueError(
                f"choose: {self.choose} is not among what is compared: {', '.join(self.compare)}"
            )

    def evidence(self, records: list[Record]) -> Evidence:
        """Group the records of a sweep by the settings that this claim compares."""
        return Evidence(records, self.compare, self.choose, self.labels)

    def judge(self, evidence: Evidence) -> list[Judged]:
        """Test every expectation on the evidence."""
        return [Expectation.parse(line, self.compare).judge(evidence) for line in self.expect]


def verdict(judged: list[Judged]) -> str:
    """Summarize the outcomes of all expectations in words."""
    holding = sum(part.outcome == "holds" for part in judged)
    if holding == len(judged):
        return "holds on these data"
    if not holding:
        return "does not hold on these data"
    return f"holds in part on these data ({holding} of {len(judged)})"


def write_claim(
    claim: Claim, sweep_dir: Path, provenance: dict[str, Any], command: str, page: Path | None = None
) -> Path:
    """Write `claim.md` and `claim.png` from the runs of a sweep and return the page's path.

    Args:
        claim: the claim to test.
        sweep_dir: a folder with `jobs/*.json`.
        provenance: the contents of one run's `provenance.json`.
        command: the command that reproduces the page.
        page: where to write it, instead of into the sweep's folder; the picture is written beside it.
    """
    page = page or sweep_dir / "claim.md"
    evidence = claim.evidence(read_records(sweep_dir))
    judged = claim.judge(evidence)
    picture = page.with_suffix(".png")
    write_bytes(picture, _picture(claim, evidence))
    write_text(page, _page(claim, evidence, judged, provenance, command, picture.name))
    return page


def _page(
    claim: Claim,
    evidence: Evidence,
    judged: list[Judged],
    provenance: dict[str, Any],
    command: str,
    picture: str,
) -> str:
    records = evidence.all_records
    failed = sum(record.failed for record in records)
    versions = [f"lit_mlfund {provenance['lit_mlfund']}"]
    versions += [f"{name} {provenance['packages'][name]}" for name in ("torch", "lightning")]
    versions.append(f"Python {provenance['python']}")
    runs = f"{len(records)} runs, seeds {', '.join(evidence.seeds)}" + (
        f", {failed} failed" if failed else ""
    )
    parts = [
        f"# {claim.statement}",
        f"**It {verdict(judged)}.**",
        f"![{claim.statement}]({picture})",
        "## What would have to come out",
        "\n".join(_expectations(judged)),
        "Differences are left − right" + _intervals(claim),
        "## What was measured",
        "\n".join(_table(claim, evidence)),
        _means(evidence) + _choice(claim, evidence),
        *([claim.note.strip()] if claim.note else []),
        "## Again",
        f"```bash\n{command}\n```",
        " · ".join([runs, *_rows(provenance["data"]), provenance["started"][:10], *versions]),
    ]
    return "\n\n".join(parts) + "\n"


def _rows(data: dict[str, Any]) -> list[str]:
    """Format the sizes of the splits, where the data have rows."""
    sizes = ", ".join(f"{split} {size:,}" for split, size in data.get("rows", {}).items())
    return [f"rows: {sizes}"] if sizes else []


def _intervals(claim: Claim) -> str:
    if all(line.startswith("spread of ") for line in claim.expect):
        return " of mean ranges, with 95 % bootstrap intervals over the settings of the others."
    return ", means over seeds of pairs of the same seed, with 95 % t intervals."


def _means(evidence: Evidence) -> str:
    means = "Means over all values of the others" if len(evidence.groups) > MAX_ROWS else "Means over seeds"
    return means + (" ± half of the 95 % t interval over seeds." if len(evidence.seeds) > 1 else ".")


def _choice(claim: Claim, evidence: Evidence) -> str:
    if claim.choose is None:
        return ""
    key, levels = evidence.key_label(claim.choose), evidence.levels(claim.choose)
    edge = any(_at_edge(chosen, levels) for chosen in evidence.chosen.values())
    text = f" The {key} of each row is the best on validation out of {', '.join(levels)}"
    return text + ("; * at an end of these, so that one beyond might be better." if edge else ".")


def _at_edge(chosen: str, levels: list[str]) -> bool:
    """Check whether a chosen number is the smallest or largest of those tried; 0 does not count as an end."""
    try:
        numbers = sorted(map(float, levels))
        return float(chosen) in (numbers[0], numbers[-1]) and float(chosen) != 0
    except ValueError:
        return False


def _expectations(judged: list[Judged]) -> list[str]:
    rows = [
        [f"`{part.text}`", number(part.difference), f"{number(part.low)} … {number(part.high)}", part.outcome]
        for part in judged
    ]
    return _markdown(["expected", "difference", "95 % interval", "outcome"], rows)


def _table(claim: Claim, evidence: Evidence) -> list[str]:
    if len(evidence.groups) > MAX_ROWS:
        return _table_of_levels(claim, evidence)
    some_failed = any(record.failed for record in evidence.all_records)
    keys = [evidence.key_label(key) for key in evidence.compare]
    keys += [evidence.key_label(claim.choose)] if claim.choose else []
    names = [*keys, *claim.values, *(["failed"] if some_failed else [])]
    return _markdown(names, [_row(claim, evidence, setting, some_failed) for setting in evidence.groups])


def _table_of_levels(claim: Claim, evidence: Evidence) -> list[str]:
    """Build one row per value of each key, averaged over the other keys: for too many settings to list."""
    rows = []
    for key in evidence.compare:
        for level in evidence.levels(key):
            settings = evidence.matching({key: level})
            means = [evidence.by_seed(settings, name).values() for name in claim.values]
            cells = [_mean([value for value in values if math.isfinite(value)]) for values in means]
            rows.append([evidence.key_label(key), evidence.labels.get(f"{key}={level}") or level, *cells])
    return _markdown(["one alone", "its value", *claim.values], rows)


def _markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]


def _row(claim: Claim, evidence: Evidence, setting: Setting, some_failed: bool) -> list[str]:
    cells = [evidence.labels.get(f"{key}={value}") or value for key, value in zip(evidence.compare, setting)]
    if claim.choose:
        chosen = evidence.chosen[setting]
        cells.append(chosen + "*" * _at_edge(chosen, evidence.levels(claim.choose)))
    cells += [_mean(evidence.numbers(setting, name)) for name in claim.values]
    if some_failed:
        group = evidence.groups[setting]
        cells.append(f"{sum(record.failed for record in group)} of {len(group)}")
    return cells


def _mean(values: list[float]) -> str:
    mean, low, high = mean_interval(values)
    if math.isnan(low) or low == high:
        return number(mean)
    half = (high - low) / 2
    digits = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 2
    if digits > 6:
        return number(mean)
    return f"{mean:,.{digits}f} ± {half:,.{digits}f}"


def _picture(claim: Claim, evidence: Evidence) -> bytes:
    from matplotlib.figure import Figure  # too slow for the start of a sweep

    width, height = PANEL_SIZE
    figure = Figure(figsize=(width * len(claim.panels), height), layout="constrained", dpi=110)
    for axis, panel in zip(figure.subplots(1, len(claim.panels), squeeze=False)[0], claim.panels):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e6e8eb", linewidth=0.8)
        axis.set_axisbelow(True)
        panel.draw(axis, evidence)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
