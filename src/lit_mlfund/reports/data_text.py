"""Describes in words what a run was made on: how many rows, the target, how the rows were split."""

from __future__ import annotations

from typing import Any


def facts_lines(task: str, data: dict[str, Any]) -> list[str]:
    """Format the data as they were interpreted: rows, target, columns, how the rows were split; a line for each.

    Args:
        task: the name of the task.
        data: the summary of a data module.
    """
    lines = [f"{task}  {size_text(data)}"]
    if queries := size_text(data, "queries"):
        lines.append(f"  lists: {queries}")
    if target := target_text(task, data):
        lines.append(f"  target: {target}")
    for kind, columns in data.get("columns", {}).items():
        pairs = [] if isinstance(columns, str) else _pairs(columns)
        separator = "; " if any(isinstance(detail, (dict, list)) for _, detail in pairs) else ", "
        names = (
            columns
            if isinstance(columns, str)
            else separator.join(_column(pair) for pair in pairs if pair[1] not in ([], {}))
        )
        if names:
            lines.append(f"  {kind}: {names}")
    for key, title in (("imputed_cells", "imputed"), ("unknown_categories", "unknown categories")):
        counts = {split: sum(cells.values()) for split, cells in data.get(key, {}).items() if cells}
        if counts:
            lines.append(
                f"  {title}: " + "  ".join(f"{split} {count:,} cells" for split, count in counts.items())
            )
    return [*lines, *(f"  {note}" for note in data.get("notes", []))]


def size_text(data: dict[str, Any], unit: str = "rows") -> str:
    """Format the size of each split, such as `train 280  val 60  test 60 rows`; empty where `data` has none."""
    sizes = "  ".join(f"{split} {size:,}" for split, size in (data.get(unit) or {}).items())
    return f"{sizes} {unit}" if sizes else ""


def budget_text(plan: dict[str, int]) -> str:
    """Format the length of a training, such as `1,056 steps: 32 epochs of 33 batches of 256`."""
    steps, epochs, batches = (_counted(plan[name], name) for name in ("steps", "epochs", "batches"))
    return f"{steps}: {epochs} of {batches} of {plan['batch_size']:,}"


def _counted(number: int, plural: str) -> str:
    """Format a number of steps, epochs or batches, of which there may be one."""
    return (
        f"{number:,} {plural.removesuffix('es' if plural == 'batches' else 's') if number == 1 else plural}"
    )


def target_text(task: str, data: dict[str, Any]) -> str:
    """Format the target as it was understood, in the training split; empty where the data do not say it.

    Which label is 1 and its share; the number of classes with the largest and the smallest share; mean and standard
    deviation; the range of the grades; items and users.
    """
    target = data.get("target") or {}
    name, classes = target.get("column", ""), target.get("classes")
    if isinstance(classes, dict) and sum(classes.values()):
        total = sum(classes.values())
        if task == "binary" and len(classes) == 2:
            positive, count = list(classes.items())[1]
            return f"{name}, 1 is {_label(positive)}: {_share(count, total)} of train"
        small, large = (choose(classes, key=lambda label: classes[label]) for choose in (min, max))
        return (
            f"{name}, {len(classes):,} classes: from {_share(classes[small], total)} ({_label(small)}) "
            f"to {_share(classes[large], total)} ({_label(large)}) of train"
        )
    if isinstance(classes, int):
        return f"{name}, {classes:,} classes"
    if target.get("grades"):
        grades, total = target["grades"], sum(target["grades"].values())
        shares = ", ".join(f"{grade}: {_share(count, total)}" for grade, count in list(grades.items())[:6])
        return f"{name}, grades {shares}{', …' if len(grades) > 6 else ''} of train"
    if target.get("mean") is not None:
        return f"{name}, mean {target['mean']:.4g}, standard deviation {target['std']:.4g} in train"
    if isinstance(data.get("items"), int):
        return f"{name or 'the next item'}: {data['items']:,} items, {data['users']:,} users"
    return name


def _label(label: str) -> str:
    return repr(label) if len(label) <= 24 else repr(label[:23] + "…")


def _share(count: float, total: float) -> str:
    percent = 100 * count / total
    # with a blank at which no line is broken
    return f"{percent:.1f}\u00a0%" if percent >= 0.1 or not count else f"{percent:.2g}\u00a0%"


def _pairs(columns: Any) -> list[tuple[str, Any]]:
    if isinstance(columns, dict):
        return list(columns.items())
    return [(str(column), None) for column in columns]


def _column(pair: tuple[str, Any]) -> str:
    name, detail = pair
    if isinstance(detail, (dict, list)):  # of users and items: columns by kind
        return f"{name} {', '.join(map(_column, _pairs(detail)))}"
    return (
        name
        if detail is None
        else f"{name} ({detail:,})"
        if isinstance(detail, int)
        else f"{name} ({detail})"
    )
