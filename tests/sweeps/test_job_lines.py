"""The line of a job: what it was given, what came out, and how long the others may take."""

from __future__ import annotations

from typing import Any

from lit_mlfund.sweeps.job_lines import JobLines


def result(value: float | None, seconds: float | None = 30.0, **more: Any) -> dict[str, Any]:
    objective = {"name": "val/auroc", "value": value}
    overrides = ["++task=binary", "++optim.lr=0.1", "seed=1"]
    return {"status": "done", "objective": objective, "seconds": seconds, "overrides": overrides, **more}


def test_lines_of_jobs() -> None:
    lines = JobLines(frozenset({"task"}), total=4)
    given = ["++task=binary", "++optim.lr=0.1"]
    assert lines.start(0, given) == "job 0 · 1 of 4 · optim.lr=0.1 · …"
    before = lines.end(0, result(0.9), is_new=False)
    assert before == "job 0 · 1 of 4 · optim.lr=0.1 seed=1 · val/auroc 0.9 · 30 s · done before"
    told = lines.end(2, result(0.91239), is_new=True)
    assert told == "job 2 · 2 of 4 · optim.lr=0.1 seed=1 · val/auroc 0.9124 · 30 s · 60 s left"
    assert lines.start(1, given) == "job 1 · 3 of 4 · optim.lr=0.1 · 60 s left · …"
    failed = lines.end(1, result(None, None, status="failed", reason="no\nmore"), is_new=True)
    assert failed == "job 1 · 3 of 4 · optim.lr=0.1 seed=1 · failed: no · 30 s left"
    assert lines.end(3, result(float("nan"), 50.0, status="pruned"), is_new=True).endswith(" · pruned · 50 s")


def test_a_search_without_end() -> None:
    lines = JobLines(frozenset())
    assert lines.end(7, result(0.5), is_new=True).startswith(
        "job 7 · task=binary optim.lr=0.1 seed=1 · val/auroc"
    )
