"""Brings configurations of earlier versions to today's layout; to be removed one release after 0.1."""

from __future__ import annotations

from typing import Any

MODULES = {
    "lit_mlfund.runtime.trainer": "lit_mlfund.runs.assembly.trainer",
    "lit_mlfund.runtime.lr_sweep": "lit_mlfund.sweeps.lr_sweep",
    "lit_mlfund.runtime.stacked": "lit_mlfund.sweeps.stacked.stacked_sweep",
    "lit_mlfund.reports.claim": "lit_mlfund.sweeps.claims.claim",
    "lit_mlfund.reports.claim_panels": "lit_mlfund.sweeps.claims.panels",
}


RECOMMENDED = ("max_epochs", "monitor", "module")  # formerly among the arguments of the data module


def current_layout(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a run folder with every key and `_target_` where it is today."""
    config = current_targets(config)
    task, data = config.get("task"), config.get("data")
    if "shape" not in config and isinstance(task, dict) and isinstance(data, dict):
        config["shape"] = task.pop("name", None)
        config["recommended"] = {key: data.pop(key) for key in RECOMMENDED if key in data}
    return config


def current_path(path: str) -> str:
    """Return the dotted path of a target as it is today."""
    module, _, name = path.rpartition(".")
    return f"{MODULES[module]}.{name}" if module in MODULES else path


def current_targets(value: Any) -> Any:
    """Return a configuration of an earlier version with every `_target_` as it is today."""
    if isinstance(value, dict):
        return {
            key: current_path(part) if key == "_target_" and isinstance(part, str) else current_targets(part)
            for key, part in value.items()
        }
    return [current_targets(part) for part in value] if isinstance(value, list) else value
