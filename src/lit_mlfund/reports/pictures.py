"""Draws the figures of a finished run from the tables in its folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from lit_mlfund.reports.figures import Ticks, reusable_figure, set_caption
from lit_mlfund.reports.holes import Holes

MODEL, REFERENCE, GREY = "#2f6db3", "#d1742f", "#8a8f98"
Measured = dict[str, dict[str, float]]


def pictures(
    names: Sequence[str], predictions: pl.DataFrame, metrics: dict[str, Any], metric: str, holes: Holes
) -> dict[str, Figure]:
    """Draw the figures of a run: name -> figure. One that fails is left out, with the reason in `holes`.

    Args:
        names: figures of the table of predictions that suit the task: functions of this module, or dotted paths of
            others.
        predictions: the table of the test split.
        metrics: the contents of `metrics.json`.
        metric: the monitored metric without its split.
        holes: receives the figures that could not be drawn.
    """
    draw: dict[str, Callable[[], Figure]] = {
        "learning_curves": lambda: learning_curves(metrics["history"], metric)
    }
    references = {name: splits["test"] for name, splits in metrics["references"].items()}
    values = [measured.get(metric, {}).get("value") for measured in references.values()]
    if references and metric in metrics["splits"]["test"] and any(value is not None for value in values):
        draw["against_references"] = lambda: against_references(metric, metrics["splits"]["test"], references)
    for name in names:
        draw[name.rpartition(".")[2]] = lambda name=name: _function(name)(predictions)  # type: ignore[misc]
    figures = {}
    for name, function in draw.items():
        with holes.leave(f"picture {name}"):
            figures[name] = function()
    return figures


def _function(name: str) -> Callable[[pl.DataFrame], Figure]:
    module, _, function = name.rpartition(".")
    found = getattr(import_module(module or __name__), function, None)
    if found is None:
        raise ValueError(f"figures: there is no function {name}")
    return found


def learning_curves(history: list[dict[str, float]], metric: str) -> Figure:
    """Draw training and validation loss, and the monitored metric, by epoch."""
    columns = 1 if metric == "loss" else 2
    figure, axes = reusable_figure(columns)
    epochs = [entry["epoch"] for entry in history]
    for name, color in (("train/loss", GREY), ("val/loss", MODEL)):
        values = _series(history, name)
        axes[0].plot(epochs, values, color=color, marker="o", markersize=3, label=name)
    axes[0].set(xlabel="epoch", ylabel="loss")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.xaxis.set_major_locator(Ticks(integer=True, min_n_ticks=1))
    if columns == 2:
        values = _series(history, f"val/{metric}")
        axes[1].plot(epochs, values, color=MODEL, marker="o", markersize=3)
        axes[1].set(xlabel="epoch", ylabel=f"val/{metric}")
    return figure


def _series(history: list[dict[str, float]], name: str) -> np.ndarray:
    """Return a value of each epoch, NaN where it is missing; a value that was NaN is null in JSON."""
    return np.array([entry.get(name) for entry in history], dtype=float)


def against_references(metric: str, model: Measured, references: dict[str, Measured]) -> Figure:
    """Draw one metric of the model and of every reference, with 95 % intervals."""
    rows = [(name, values[metric], REFERENCE) for name, values in references.items() if metric in values]
    rows.append(("this model", model[metric], MODEL))
    longest = max(len(name) + (11 if values["value"] is None else 0) for name, values, _ in rows)
    figure, (axis,) = reusable_figure(width=6.4, height=1.1 + 0.36 * len(rows), left=0.2 + 0.09 * longest)
    labels = []
    for position, (name, measured, color) in enumerate(rows):
        value = {key: np.nan if number is None else number for key, number in measured.items()}
        labels.append(name.replace("_", " ") + (" (no value)" if np.isnan(value["value"]) else ""))
        axis.plot([value["low"], value["high"]], [position, position], color=color, linewidth=2.5, alpha=0.6)
        axis.plot(value["value"], position, "o", color=color, markersize=6)
    axis.set_yticks(range(len(rows)), labels)
    axis.set(xlabel=f"test/{metric}, 95 % interval", ylim=(-0.6, len(rows) - 0.4))
    return figure


def roc_and_precision_recall(table: pl.DataFrame) -> Figure:
    """Draw both curves of a binary classifier, with the level of random guessing."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure, (roc, pr) = reusable_figure(2, width=4.2, height=3.9)
    target, probability = table["target"].to_numpy(), table["probability"].to_numpy()
    if 0 < target.mean() < 1:
        false_positive, true_positive, _ = roc_curve(target, probability)
        roc.plot(false_positive, true_positive, color=MODEL)
        precision, recall, _ = precision_recall_curve(target, probability)
        pr.plot(recall, precision, color=MODEL)
    else:
        for axis in (roc, pr):
            axis.text(0.5, 0.5, "all rows are of one class", ha="center", color=GREY)
    roc.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC", aspect="equal")
    pr.axhline(target.mean(), linestyle="--", color=GREY, linewidth=1)
    pr.set(xlabel="recall", ylabel="precision", title="precision and recall", xlim=(0, 1), ylim=(0, 1.02))
    return figure


def reliability(table: pl.DataFrame, num_bins: int = 15) -> Figure:
    """Draw observed against predicted probabilities, in bins of equal size with 95 % binomial intervals."""
    figure, (axis, counts) = reusable_figure(2, width=4.2, height=3.9)
    target, probability = table["target"].to_numpy(), table["probability"].to_numpy()
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(num_bins, len(order)))
    share, mean = (np.array([values[part].mean() for part in parts]) for values in (target, probability))
    error = 1.96 * np.sqrt(np.maximum(share * (1 - share), 1e-12) / [len(part) for part in parts])
    axis.errorbar(mean, share, yerr=error, fmt="o", color=MODEL, markersize=4, linewidth=1.2)
    axis.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    limit = min(1.0, 1.15 * float(max(probability.max(), target.mean())))
    axis.set(
        xlabel="predicted probability",
        ylabel="observed share",
        xlim=(0, limit),
        ylim=(0, limit),
        title="reliability",
    )
    counts.stairs(*np.histogram(probability, bins=40), fill=True, color=MODEL, alpha=0.8)
    counts.set(xlabel="predicted probability", ylabel="rows", title="distribution of predictions")
    return figure


def confusion(table: pl.DataFrame, max_classes: int = 30) -> Figure:
    """Draw the share of each true class predicted as each label; of many classes, those confused most."""
    counts = table.group_by("label", "prediction").len()
    labels = sorted(set(counts["label"]) | set(counts["prediction"]), key=_natural)
    code = {label: number for number, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)))
    for true, predicted, count in counts.iter_rows():
        matrix[code[true], code[predicted]] = count
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    note = ""
    if len(labels) > max_classes:
        wrong = matrix.sum(1) + matrix.sum(0) - 2 * np.diag(matrix)
        order = np.argsort(-wrong, kind="stable")
        keep, rest = np.sort(order[:max_classes]), np.sort(order[max_classes:])
        note = f"the {max_classes} of {len(labels)} classes that are confused most"
        left_out = ", ".join(_visible(labels[number]) for number in rest)
        size = matrix[rest].sum()
        caption = (
            f"Drawn are {note}. Left out are {len(rest)} with {size:.0f} rows, of which "
            f"{size - np.diag(matrix)[rest].sum():.0f} are predicted wrongly: {left_out}."
        )
        matrix, share = matrix[np.ix_(keep, keep)], share[np.ix_(keep, keep)]
        labels = [labels[number] for number in keep]
    side = 2.2 + 0.3 * len(labels)
    figure, (axis,) = reusable_figure(width=side + 0.8, height=side)
    figure.set_layout_engine("constrained")  # class names may be long on both axes
    if note:
        axis.set_title(note, fontsize=9)
        set_caption(figure, caption)
    axis.grid(False)
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    shown = [_visible(label) for label in labels]
    axis.set_xticks(range(len(labels)), shown, rotation=90 if max(map(len, labels)) > 2 else 0)
    axis.set_yticks(range(len(labels)), shown)
    axis.set(xlabel="predicted", ylabel="true")
    if len(labels) <= 12:
        for row, column in zip(*np.nonzero(matrix)):
            color = "white" if share[row, column] > 0.5 else "black"
            axis.text(
                column, row, f"{matrix[row, column]:.0f}", ha="center", va="center", color=color, fontsize=8
            )
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the true class")
    return figure


def residuals(table: pl.DataFrame) -> Figure:
    """Draw prediction against target, and the distribution of the error."""
    figure, (scatter, histogram) = reusable_figure(2, width=4.4, height=3.8)
    target, prediction = table["target"].to_numpy(), table["prediction"].to_numpy()
    if len(target) > 2000:
        scatter.hexbin(prediction, target, gridsize=60, bins="log", cmap="Blues", mincnt=1)
    else:
        scatter.plot(prediction, target, ".", color=MODEL, alpha=0.5)
    low, high = min(target.min(), prediction.min()), max(target.max(), prediction.max())
    scatter.plot([low, high], [low, high], "--", color=GREY, linewidth=1)
    scatter.set(xlabel="prediction", ylabel="target")
    error = prediction - target
    inner = np.quantile(error, [0.005, 0.995])
    histogram.stairs(*np.histogram(np.clip(error, *inner), bins=50), fill=True, color=MODEL, alpha=0.8)
    histogram.axvline(0, color=GREY, linewidth=1)
    histogram.set(xlabel="prediction - target (0.5 % at each end clipped)", ylabel="rows")
    return figure


def scores_by_relevance(table: pl.DataFrame) -> Figure:
    """Draw the distribution of the scores of each relevance grade."""
    grades = sorted(table["target"].unique().to_list())
    figure, (axis,) = reusable_figure(width=5.6)
    scores = [table.filter(pl.col("target") == grade)["score"].to_numpy() for grade in grades]
    axis.boxplot(
        scores,
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        boxprops={"facecolor": "#cfe0f2"},
        medianprops={"color": MODEL},
    )
    axis.set_xticks(range(1, len(grades) + 1), [f"{grade:g}" for grade in grades])
    axis.set(xlabel="relevance", ylabel="score")
    return figure


def recall_by_rank(table: pl.DataFrame) -> Figure:
    """Draw the share of queries that have their item among the first k, for every k."""
    ranks = np.sort(table["rank"].to_numpy())
    figure, (axis,) = reusable_figure(width=5.6)
    axis.step(ranks, np.arange(1, len(ranks) + 1) / len(ranks), where="post", color=MODEL)
    axis.set(xscale="log", xlabel="k", ylabel="share found among the first k", ylim=(0, 1), xlim=(1, None))
    return figure


def _natural(label: str) -> tuple[int, float, str]:
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _visible(label: str) -> str:
    """Format a label for an axis: blanks and control characters in quotes, dollar signs escaped (no formulas)."""
    return label.replace("$", r"\$") if label.isprintable() and label.strip() else repr(label)
