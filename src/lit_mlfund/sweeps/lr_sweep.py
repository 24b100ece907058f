"""Implements `sweep=lr`, which spends a budget of minutes on the learning rate alone."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any

from lit_mlfund.atomic import to_json, write_bytes, write_json
from lit_mlfund.config.compatibility import direction
from lit_mlfund.config.errors import ConfigError
from lit_mlfund.data.serving.budget import BY_ROWS
from lit_mlfund.runs.execution.lifecycle import run_config
from lit_mlfund.startup.streams import say_json, say_result
from lit_mlfund.sweeps.job import Job
from lit_mlfund.sweeps.lr_search import best_index, next_index, rate_at
from lit_mlfund.sweeps.plan import Plan

START = 3e-3  # among the rates that follow the rows, which are not known before the first training


class LearningRateSweep:
    """Trains a configuration with its whole schedule at one learning rate after another.

    It starts at the configured rate, proceeds by factors of √10 until the best rate lies between two worse ones,
    and then refines the grid around it (`lr_search.next_index`). It compares the best monitored values on the
    validation split; the test split is not used.

    Args:
        plan: a plan with a single combination.
        minutes: no training starts that would likely end later than this, except for the first one.
    """

    def __init__(self, plan: Plan, *, minutes: float = 10.0) -> None:
        self.plan = plan
        self.minutes = minutes
        self.config = plan.combinations[0].config

    def problems(self) -> list[str]:
        """List what in the configuration prevents the sweep, one line each."""
        optim, problems = self.config["optim"], []
        if len(self.plan.combinations) > 1:
            problems.append(f"sweep=lr looks at one configuration, not at {len(self.plan.combinations)}")
        if not self.minutes > 0:
            problems.append(f"sweep.minutes: expected more than 0, got {self.minutes:g}")
        if optim.get("lr") != BY_ROWS and not isinstance(optim.get("lr"), (int, float)):
            hint = "" if optim.get("lr") is None else "; set the rate to start from, such as lr-find's"
            problems.append(f"optim.lr: expected a number to start from, got {optim.get('lr')}{hint}")
        elif optim["lr"] != BY_ROWS and not optim["lr"] > 0:
            problems.append(f"optim.lr: expected a rate above 0 to start from, got {optim['lr']:g}")
        if not self.config["train"]:
            problems.append("train: sweep=lr trains; leave out train=false")
        return problems

    def __call__(self, job: Job) -> list[dict[str, Any]]:
        """Spend the budget, printing each training as it ends and then the summary; return the summary alone."""
        if problems := self.problems():
            raise ConfigError(problems)
        started = time.perf_counter()
        rate = self.config["optim"]["lr"]
        center, sign = (
            START if rate == BY_ROWS else float(rate),
            1.0 if direction(self.config) == "max" else -1.0,
        )
        tried: dict[int, float] = {}
        results: list[dict[str, Any]] = []
        longest, converged = 0.0, False
        while not tried or time.perf_counter() - started + longest <= 60 * self.minutes:
            index = next_index(tried, center)
            if index is None:
                converged = True
                break
            trial_started = time.perf_counter()
            result = self._train(rate_at(center, index), len(results), job)
            longest = max(longest, time.perf_counter() - trial_started)
            value = (result.get("objective") or {}).get("value")
            tried[index] = math.nan if value is None or result["status"] != "done" else sign * value
            results.append({**result, "lr": rate_at(center, index)})
        return [self._summary(results, best_index(tried), center, converged, time.perf_counter() - started)]

    def _train(self, rate: float, number: int, job: Job) -> dict[str, Any]:
        config = copy.deepcopy(self.config)
        config["optim"]["lr"] = rate
        config |= {"test": False, "references": False}
        del config["sweep"]
        overrides = [*self.plan.combinations[0].overrides, f"optim.lr={rate:g}"]
        return job.run(number, overrides, self.plan.folder, lambda: run_config(config, self.plan.command))

    def _summary(
        self, results: list[dict[str, Any]], best: int, center: float, converged: bool, seconds: float
    ) -> dict[str, Any]:
        trials = [
            {
                "lr": result["lr"],
                "value": (result.get("objective") or {}).get("value") if result["status"] == "done" else None,
                "status": result["status"],
                "run": result["run"],
            }
            for result in results
        ]
        rate, picture = rate_at(center, best), self.plan.folder / "lr.png"
        winner = next(result for result in results if result["lr"] == rate)
        summary = {
            "sweep": str(self.plan.folder),
            "status": "done" if any(trial["value"] is not None for trial in trials) else "failed",
            "lr": rate,
            "override": f"optim.lr={rate:g}",
            "objective": winner.get("objective"),
            "run": winner["run"],
            "trials": trials,
            "converged": converged,
            "seconds": round(seconds, 3),
            "picture": str(picture),
        }
        if summary["status"] == "done":
            self._draw(summary, picture)
            self._publish(summary, picture)
        else:
            summary |= {
                "reason": "no training was completed",
                "lr": None,
                "override": None,
                "picture": None,
            }
        write_json(self.plan.folder / "lr.json", summary)
        self._print(summary, results)
        return summary

    def _draw(self, summary: dict[str, Any], picture: Path) -> None:
        from lit_mlfund.reports.card import png
        from lit_mlfund.reports.lr_sweep_figure import lr_sweep_figure

        points = [(trial["lr"], trial["value"]) for trial in summary["trials"]]
        write_bytes(picture, png(lr_sweep_figure(points, summary["lr"], summary["objective"]["name"])))

    def _publish(self, summary: dict[str, Any], picture: Path) -> None:
        if not self.config["logger"].get("tensorboard"):
            return
        from torch.utils.tensorboard import SummaryWriter

        from lit_mlfund.runs.evaluation.publish import add_picture

        with SummaryWriter(str(self.plan.folder / "tensorboard")) as writer:
            add_picture(writer, "sweep/lr", picture)
            writer.add_text("sweep/lr", f"`{summary['override']}`")

    def _print(self, summary: dict[str, Any], results: list[dict[str, Any]]) -> None:
        from lit_mlfund.reports.sweep_table import sweep_text

        text = sweep_text(results, direction(self.config))
        if summary["status"] == "done":
            reason = (
                "its neighbours within a factor of 1.4 are no better"
                if summary["converged"]
                else "the time is up"
            )
            text += f"\n{summary['override']}  ({reason})\n{summary['picture']}"
        say_result(text)
        say_json(to_json(summary))
