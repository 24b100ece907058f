"""Evaluates every metric of a task shape, with bootstrap intervals, on the predictions of a whole split.

Predictions are tensors on any device; rows may have a `weight`. Wrong shapes, targets that are invalid for the task,
and predictions that are not finite raise `ValueError`. A metric that is undefined on the rows (AUROC of one class) is
NaN.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lit_mlfund.metrics.bootstrap import Evaluation
from lit_mlfund.metrics.calibration import bin_index, calibration_null

_NUM_BINS = 15


def evaluate_binary(logits_B: Tensor, target_B: Tensor, weight: Tensor | None = None) -> Evaluation:
    """Evaluate auroc, average_precision, log_loss, brier, accuracy (at probability ½), ece and ece_null.

    ece uses 15 bins of equal width; ece_null is its expectation if every probability were exact.
    """
    logits = _check_predictions("logits", logits_B, 1)
    target = _check_per_row("target", target_B, logits)
    _raise_if_any("target must be 0 or 1", target, (target != 0) & (target != 1))
    weights = _check_weights(weight, logits)
    positive = target == 1
    logits, probability = logits.double(), logits.double().sigmoid()
    row_values = {
        "log_loss": torch.nn.functional.softplus(torch.where(positive, -logits, logits)),
        "brier": (probability - positive.double()) ** 2,
        "accuracy": (logits > 0) == positive,
    }
    statistics = _weighted_statistics(row_values, weights)
    residual = _to_numpy(weights * (probability - positive.double()))
    index = bin_index(probability, _NUM_BINS).cpu().numpy()
    areas = _CurveAreas(_to_numpy(logits), _to_numpy(positive), _to_numpy(weights))

    def measure(counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        total, *sums = (counts_RN @ statistics).T
        result = areas(counts_RN)
        result |= {name: value / total for name, value in zip(row_values, sums)}
        result["ece"] = np.abs(_sum_by_group(index, counts_RN * residual, _NUM_BINS)).sum(1) / total
        return result

    expected_ece = float(calibration_null(probability, _NUM_BINS, weight=weights))
    return Evaluation(len(logits), measure, {"ece_null": expected_ece}, biased=("ece",))


def evaluate_multiclass(logits_BK: Tensor, target_B: Tensor, weight: Tensor | None = None) -> Evaluation:
    """Evaluate accuracy, macro_f1, log_loss, top5_accuracy (K > 5), ece of the top class, and ece_null.

    macro_f1 is the mean over classes that occur as target or as prediction. top5_accuracy is the expectation over
    all orderings of equal logits; the other metrics predict the first of equal logits.
    """
    logits = _check_predictions("logits", logits_BK, 2)
    target = _check_per_row("target", target_B, logits)
    num_classes = logits.shape[1]
    if target.is_floating_point():
        raise ValueError(f"target must hold class numbers, got {target.dtype}")
    _raise_if_any(f"target must be 0 … {num_classes - 1}", target, (target < 0) | (target >= num_classes))
    weights = _check_weights(weight, logits)
    target = target.long()
    log_probability = logits.log_softmax(1)
    confidence, predicted = log_probability.max(1)
    confidence, correct = confidence.double().exp().clamp(max=1), predicted == target
    row_values = {"accuracy": correct, "log_loss": -log_probability.gather(1, target[:, None])[:, 0]}
    if num_classes > 5:
        own = logits.gather(1, target[:, None])
        above, num_tied = (logits > own).sum(1), (logits == own).sum(1)
        row_values["top5_accuracy"] = ((5 - above) / num_tied).clamp(0, 1)
    statistics = _weighted_statistics(row_values, weights)
    residual = _to_numpy(weights * (confidence - correct.double()))
    index = bin_index(confidence, _NUM_BINS).cpu().numpy()
    row_weight, row_target, row_predicted = _to_numpy(weights), target.cpu().numpy(), predicted.cpu().numpy()
    hits = _to_numpy(correct)

    def measure(counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        total, *sums = (counts_RN @ statistics).T
        result = {name: value / total for name, value in zip(row_values, sums)}
        mass = counts_RN * row_weight
        occurs = _sum_by_group(row_target, mass, num_classes) + _sum_by_group(
            row_predicted, mass, num_classes
        )
        f1 = 2 * _sum_by_group(row_target, mass * hits, num_classes) / occurs
        result["macro_f1"] = np.nansum(f1, axis=1) / (occurs > 0).sum(1)
        result["ece"] = np.abs(_sum_by_group(index, counts_RN * residual, _NUM_BINS)).sum(1) / total
        return result

    expected_ece = float(calibration_null(confidence, _NUM_BINS, weight=weights))
    return Evaluation(len(logits), measure, {"ece_null": expected_ece}, biased=("ece",))


def token_values(
    log_probability_WT: Tensor, correct_WT: Tensor, mask_WT: Tensor | None = None
) -> dict[str, Tensor]:
    """Return each window's number of `tokens`, sum of `loss` and number of correct predictions (`hits`), `[W]`.

    `log_probability` is that of the actual token, `correct` is True where it was the most probable one, `mask` is
    True where a token counts.
    """
    log_probability = _check_predictions("log_probability", log_probability_WT, 2)
    counted = torch.ones_like(log_probability) if mask_WT is None else mask_WT
    counted = counted.to(log_probability.device, torch.float64)
    return {
        "tokens": counted.sum(1),
        "loss": (-log_probability.double() * counted).sum(1),
        "hits": (correct_WT.to(counted.device) * counted).sum(1),
    }


def evaluate_windows(values: dict[str, Tensor]) -> Evaluation:
    """Evaluate log_loss, bits_per_character (log_loss / ln 2) and accuracy over the tokens of all windows.

    `values` come from `token_values`. Whole windows are resampled, because neighbouring tokens are not independent.
    """
    statistics = np.stack([_to_numpy(values[name]) for name in ("tokens", "loss", "hits")], axis=1)
    if not statistics[:, 0].any():
        raise ValueError("no token to evaluate")

    def measure(counts_RW: np.ndarray) -> dict[str, np.ndarray]:
        total, loss, hits = (counts_RW @ statistics).T
        return {
            "log_loss": loss / total,
            "bits_per_character": loss / total / math.log(2),
            "accuracy": hits / total,
        }

    return Evaluation(len(statistics), measure)


def evaluate_tokens(
    log_probability_WT: Tensor, correct_WT: Tensor, mask_WT: Tensor | None = None
) -> Evaluation:
    """Evaluate tokens: `evaluate_windows(token_values(…))`."""
    return evaluate_windows(token_values(log_probability_WT, correct_WT, mask_WT))


def evaluate_regression(prediction_B: Tensor, target_B: Tensor, weight: Tensor | None = None) -> Evaluation:
    """Evaluate rmse, mae, r2 (NaN if the target is constant) and median_ae (weighted median of |error|)."""
    prediction = _check_predictions("prediction", prediction_B, 1).double()
    target = _check_per_row("target", target_B, prediction).double()
    _raise_if_any("target must be finite", target, ~torch.isfinite(target))
    weights = _check_weights(weight, prediction)
    error = (prediction - target).abs()
    # Centred for precision. A constant target becomes exactly 0, which its mean might miss by rounding.
    centred = target - (target[0] if bool((target == target[0]).all()) else target.mean())
    moments = {"mse": error**2, "mae": error, "mean": centred, "square": centred**2}
    statistics = _weighted_statistics(moments, weights)
    errors, row_weight = _to_numpy(error), _to_numpy(weights)
    order = np.argsort(errors)
    errors = errors[order]

    def measure(counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        total, *sums = (counts_RN @ statistics).T
        mse, mae, mean, square = (value / total for value in sums)
        variance = square - mean**2
        variance[variance <= 1e-12 * square] = np.nan
        mass = np.cumsum((counts_RN * row_weight).take(order, axis=1), axis=1)
        median = [
            (errors[_median_index(row, "left")] + errors[_median_index(row, "right")]) / 2 for row in mass
        ]
        return {"rmse": np.sqrt(mse), "mae": mae, "r2": 1 - mse / variance, "median_ae": np.array(median)}

    return Evaluation(len(error), measure)


class _CurveAreas:
    """Computes AUROC and average precision under row counts; rows are sorted once, equal scores form one step."""

    def __init__(self, score: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> None:
        self.order = np.argsort(-score)
        self.weight = weight[self.order]
        ranked, number = score[self.order], np.arange(len(score))
        group_start = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # groups have equal scores
        group = np.searchsorted(group_start, number, side="right") - 1
        self.positives = np.flatnonzero(positive[self.order])
        groups, self.cuts = np.unique(group[self.positives], return_index=True)
        self.first, self.last = group_start[groups], np.r_[group_start[1:], len(score)][groups]

    def __call__(self, counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        mass = counts_RN.take(self.order, axis=1) * self.weight
        total = np.zeros((len(mass), mass.shape[1] + 1))
        np.cumsum(mass, axis=1, out=total[:, 1:])
        if not len(self.positives):
            undefined = np.full(len(mass), np.nan)
            return {"auroc": undefined, "average_precision": undefined}
        positive_mass = np.add.reduceat(mass.take(self.positives, axis=1), self.cuts, axis=1)
        positives_so_far = np.cumsum(positive_mass, axis=1)
        total_positives, total_negatives = positives_so_far[:, -1], total[:, -1] - positives_so_far[:, -1]
        seen, seen_before = total.take(self.last, axis=1), total.take(self.first, axis=1)
        # negatives above each group, plus half of those tied with it
        above = (seen - positives_so_far + seen_before - (positives_so_far - positive_mass)) / 2
        precision = np.divide(positives_so_far, seen, out=np.zeros_like(seen), where=seen > 0)
        return {
            "auroc": 1 - (positive_mass * above).sum(1) / (total_positives * total_negatives),
            "average_precision": (positive_mass * precision).sum(1) / total_positives,
        }


def _check_predictions(name: str, value: Tensor, num_dims: int) -> Tensor:
    if value.ndim != num_dims or not value.numel():
        shape = "[B]" if num_dims == 1 else "[B, K]"
        raise ValueError(f"{name} must be {shape} with B > 0, got {tuple(value.shape)}")
    if not value.is_floating_point() or value.dtype.itemsize < 4:
        value = value.float()
    _raise_if_any(f"{name} must be finite", value, ~torch.isfinite(value))
    value = value.detach()
    return value.cpu() if value.device.type == "mps" else value  # MPS has no float64


def _check_per_row(name: str, value: Tensor, predictions: Tensor) -> Tensor:
    if value.shape != predictions.shape[:1]:
        raise ValueError(f"{name} must be [B] = [{len(predictions)}], got {tuple(value.shape)}")
    return value.detach().to(predictions.device)


def _check_weights(weight: Tensor | None, predictions: Tensor) -> Tensor:
    if weight is None:
        return torch.ones(len(predictions), dtype=torch.float64, device=predictions.device)
    weight = _check_per_row("weight", weight, predictions).double()
    _raise_if_any("weight must be finite and at least 0", weight, ~((weight >= 0) & (weight < torch.inf)))
    if not weight.any():
        raise ValueError("weight must be above 0 somewhere")
    return weight


def _raise_if_any(rule: str, value: Tensor, invalid: Tensor) -> None:
    if invalid.any():
        raise ValueError(
            f"{rule}: {int(invalid.sum())} of {invalid.numel()} are not, such as {value[invalid][0].item()}"
        )


def _to_numpy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().double().numpy()


def _weighted_statistics(columns: dict[str, Tensor], weight: Tensor) -> np.ndarray:
    """Return `[B, 1 + columns]`: the weight of each row and its weighted values."""
    return _to_numpy(torch.stack([weight, *(weight * value for value in columns.values())], dim=1))


def _sum_by_group(group: np.ndarray, value_RN: np.ndarray, num_groups: int) -> np.ndarray:
    """Sum each row of values by group, `[R, num_groups]`."""
    return np.stack([np.bincount(group, value, num_groups) for value in value_RN])


def _median_index(cumulative: np.ndarray, side: Literal["left", "right"]) -> int:
    """Return the index of the median of sorted rows with these cumulative weights; at a tie the sides differ."""
    return min(int(np.searchsorted(cumulative, cumulative[-1] / 2, side)), len(cumulative) - 1)
