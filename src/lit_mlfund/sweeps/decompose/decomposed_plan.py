"""Implements `mlfund decompose`: a decomposition of one configuration, or of each value of one key."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lit_mlfund.atomic import WriteError, write_bytes, write_json
from lit_mlfund.callbacks import TrainingDiverged
from lit_mlfund.config.compatibility import task_name
from lit_mlfund.config.errors import ConfigError, problems_of
from lit_mlfund.diagnostics.decomposition import Parts
from lit_mlfund.reports.decomposition_figure import decomposition_figure
from lit_mlfund.reports.decomposition_table import decomposition_text
from lit_mlfund.runs.assembly.data_reuse import load_data, shared_data
from lit_mlfund.runs.assembly.objects import quiet_lightning, seed_everything
from lit_mlfund.runs.evaluation.publish import show_facts
from lit_mlfund.startup.environment import launcher_world
from lit_mlfund.startup.signals import REQUEST
from lit_mlfund.startup.streams import warn
from lit_mlfund.sweeps.decompose.losses import NO_DECOMPOSITION, decompositions
from lit_mlfund.sweeps.decompose.replicas import Replicas, train_replicas
from lit_mlfund.sweeps.plan import Combination, Plan


class DecomposedPlan:
    """Trains replicas of every combination of a plan and splits its losses into noise, bias and variance.

    Args:
        plan: one configuration, or several that differ in the key `sweep`.
        replicas: number of disjoint parts of the training rows.
        initialisations: trainings on each part, each with a seed of its own.
        noise: where it is known, variance of the target's noise (regression) or share of flipped labels (binary).
        sweep: the key that has several values.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        replicas: int = 30,
        initialisations: int = 2,
        noise: float | None = None,
        sweep: str | None = None,
    ) -> None:
        self.plan, self.sweep = plan, sweep
        self.replicas, self.initialisations, self.noise = replicas, initialisations, noise
        config = plan.first.config
        name = f"{datetime.now().strftime('%Y%m%d-%H%M%S')}-{config['name']}-{secrets.token_hex(3)}"
        self.folder = Path(config["runs_dir"]).expanduser().absolute() / "decompositions" / name

    def problems(self) -> Iterator[str]:
        """Yield what prevents the decomposition, one line each."""
        varied = sorted(key for key, lines in _lines_by_key(self.plan.combinations).items() if len(lines) > 1)
        if len(self.plan.combinations) == 1 and self.sweep is not None:
            yield f"decompose.sweep: give the values of {self.sweep} as in a multirun: {self.sweep}=A,B"
        for key in varied:
            if key != self.sweep:
                yield f"{key}: has several values; decompose.sweep={key} decomposes each, of one key alone"
        if not self.plan.is_in_process:
            yield "hydra: decompose runs in this process; leave out sweepers and launchers"
        for config in (combination.config for combination in self.plan.combinations):
            if config["shape"] == "retrieval":
                yield f"task: retrieval has {NO_DECOMPOSITION}"
            if config.get("run"):
                yield "run: is for train; decompose takes the options of the run instead"
            if config.get("sweep"):
                yield "sweep: is for train -m; leave it out"
            if not config["train"]:
                yield "train: decompose trains; leave out train=false"
            if config["optim"].get("lr") == "auto":
                yield "optim.lr: decompose needs a number; mlfund lr-find finds one"
            if config.get("blend"):
                yield "blend: decompose looks at the network alone; leave it out"
            devices = str(config["trainer"].get("devices", 1))
            if devices not in ("1", "auto") or config["trainer"].get("num_nodes", 1) != 1:
                yield "trainer.devices: decompose trains in one process"

    def __call__(self) -> dict[str, Any]:
        """Train, decompose, and write `result.json` behind each configuration; return its contents.

        Raises:
            ConfigError, DataError, WriteError: the user's input or disk is wrong.
        """
        if launcher_world():
            raise ConfigError("decompose trains in one process; leave out torchrun or srun")
        if problems := list(dict.fromkeys(self.problems())):
            raise ConfigError(problems)
        quiet_lightning()
        with self._new_folder():
            return self._decomposed()

    @contextmanager
    def _new_folder(self) -> Iterator[None]:
        """Make the folder before anything is trained; remove it, and parents made with it, if it stays empty."""
        new = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        try:
            self.folder.mkdir(parents=True)
        except OSError as error:
            raise WriteError(f"cannot make {self.folder}: {error.strerror}") from error
        try:
            yield
        except BaseException:
            for folder in new:
                with suppress(OSError):
                    folder.rmdir()
            raise

    def _decomposed(self) -> dict[str, Any]:
        started = time.perf_counter()
        result: dict[str, Any] = {"decomposition": str(self.folder), "status": "done", "sweep": self.sweep}
        result["points"] = points = []
        with shared_data():
            for combination in self.plan.combinations:
                try:
                    points.append(self._point(combination))
                except (TrainingDiverged, FloatingPointError, ValueError) as error:
                    problems = problems_of(error) or []
                    if isinstance(error, ValueError) and not (points and problems):
                        raise
                    reason = "; ".join(problems) or str(error)
                    points.append(self._label(combination) | {"status": "failed", "reason": reason})
                    result |= {"status": "failed", "reason": reason}
                result["seconds"] = round(time.perf_counter() - started, 3)
                with REQUEST.deferred():
                    self._write(result)
                REQUEST.check()
        warn(decomposition_text(points, self.sweep))
        return result

    def _point(self, combination: Combination) -> dict[str, Any]:
        started, config = time.perf_counter(), combination.config
        seed_everything(config["seed"])
        data = load_data(OmegaConf.create(config))
        show_facts(task_name(config), data)
        replicas = train_replicas(config, data, self.replicas, self.initialisations, self.noise)
        losses = decompositions(replicas.module, replicas.outputs, self.initialisations, self.noise)
        warn(self._told(replicas))
        return self._label(combination) | {
            "status": "done",
            "rows": replicas.rows,
            "replicas": self.replicas,
            "initialisations": self.initialisations,
            "stacked": not replicas.unstacked,
            "losses": {name: _plain(parts) for name, parts in losses.items()},
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _label(self, combination: Combination) -> dict[str, Any]:
        own = {line.lstrip("+").partition("=")[0]: line.partition("=")[2] for line in combination.overrides}
        return {
            "overrides": [line.lstrip("+") for line in combination.overrides if line != "decompose=default"],
            "value": own.get(self.sweep) if self.sweep else None,
        }

    def _told(self, replicas: Replicas) -> str:
        rows = replicas.rows
        how = f"one after another ({'; '.join(replicas.unstacked)})" if replicas.unstacked else "stacked"
        return (
            f"{self.replicas * self.initialisations} replicas, {how}: {self.replicas} disjoint parts of the "
            f"{rows['train']:,} training rows, {self.initialisations} trainings on each; the results are those of "
            f"training on {rows['replica']:,} rows"
        )

    def _write(self, result: dict[str, Any]) -> None:
        done = [point for point in result["points"] if point["status"] == "done"]
        if done:
            from lit_mlfund.reports.card import png

            picture = self.folder / "decomposition.png"
            write_bytes(picture, png(decomposition_figure(done, self.sweep)))
            result["picture"] = str(picture)
        OmegaConf.save(OmegaConf.create(self.plan.first.config), self.folder / "decompose.yaml")
        write_json(self.folder / "result.json", result)


def _lines_by_key(combinations: list[Combination]) -> dict[str, set[str]]:
    lines: dict[str, set[str]] = {}
    for combination in combinations:
        for line in combination.overrides:
            lines.setdefault(line.lstrip("+").partition("=")[0], set()).add(line)
    return lines


def _plain(parts: Parts) -> dict[str, dict[str, float] | None]:
    return {name: None if part is None else part.to_dict() for name, part in parts.items()}
