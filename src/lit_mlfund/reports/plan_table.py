"""Formats what `mlfund plan` found for the terminal."""

from __future__ import annotations

from typing import Any

from lit_mlfund.memory import as_size
from lit_mlfund.reports.tables import number
from lit_mlfund.reports.terminal import table_text, wrap
from lit_mlfund.startup.screen import duration

_UNITS = ("", "k", "M", "G", "T", "P", "E")


def plan_text(plan: dict[str, Any]) -> str:
    """Format memory, traffic and time in tables, then whether it fits and what to change where it does not."""
    devices, memory = plan["devices"], plan["memory"]
    rows = [
        ["parameters", as_size(memory["parameters"])],
        ["gradients", as_size(memory["gradients"])],
        ["optimizer state", as_size(memory["optimizer_state"])],
        ["activations, batch", as_size(memory["activations"])],
        [f"peak of training, in the {memory['phase']}", as_size(memory["training_peak"])],
        ["peak of validation", as_size(memory["validation_peak"])],
        ["may be used", as_size(devices["limit_bytes"])],
    ]
    several = "s" if devices["number"] > 1 else ""
    title = (
        f"{_short(plan['parameters']['total'])} parameters on {devices['number']} {devices['name']} "
        f"device{several} ({devices['strategy']}, {plan['precision']})"
    )
    parts = [wrap(title), "", table_text(["on each device", "bytes"], rows)]
    if plan["communication"]:
        header = ["collective, in a step", "calls", "sent by each device"]
        carried = [
            [f"{part['collective']} over {part['group']}", str(part["calls"]), as_size(part["wire_bytes"])]
            for part in plan["communication"]
        ]
        parts += ["", table_text(header, carried)]
    parts += ["", table_text(["time", ""], list(_times(plan))), "", wrap(_verdict(plan))]
    parts += [wrap(f"try {change['override']}: {change['effect']}") for change in plan["changes"]]
    parts += [wrap(f"note: {note}") for note in plan["notes"]]
    return "\n".join(parts)


def _times(plan: dict[str, Any]) -> list[list[str]]:
    took = plan["time"]
    rows = [
        ["FLOPs of a step, each device", _short(plan["flops"])],
        ["computation", _seconds(took["compute_seconds"])],
        ["communication", _seconds(took["communication_seconds"])],
        [
            "step, overlapped … one after the other",
            f"{_seconds(took['step_seconds'])} … {_seconds(took['step_seconds_without_overlap'])}",
        ],
        ["rows a second, all devices", number(took["rows_per_second"])],
    ]
    if "tokens_per_second" in took:
        rows.append(["tokens a second, all devices", number(took["tokens_per_second"])])
    if took["steps"] is not None:
        whole = [_seconds(3600 * took[name]) for name in ("hours", "hours_without_overlap")]
        rows += [["steps", f"{took['steps']:,}"], ["the whole training", " … ".join(whole)]]
    return rows


def _verdict(plan: dict[str, Any]) -> str:
    peak, limit = plan["memory"]["peak"], plan["devices"]["limit_bytes"]
    if plan["fits"]:
        return f"verdict: fits; {as_size(limit - peak)} of {as_size(limit)} are left on each device"
    return f"verdict: does not fit; {as_size(peak - limit)} too much on each device"


def _seconds(value: float) -> str:
    if value >= 100:
        return duration(value)
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{number(value / size)} {unit}"
    return f"{number(value / 1e-6)} µs"


def _short(value: float) -> str:
    """Format a count as `70.1 G`."""
    for unit in _UNITS:
        if value < 1000:
            return f"{value:.4g} {unit}".rstrip()
        value /= 1000
    return f"{value:.4g} Z"
