"""Every metric of a task shape, with bootstrap intervals, from the predictions of a whole split.

Predictions are tensors on any device; rows may have a `weight`. Wrong shapes, targets that the task does not
have, and predictions that are not finite raise `ValueError`. A metric that the rows do not define (AUROC of
one class) is NaN.
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
    """auroc, average_precision, log_loss, brier, accuracy (at probability ½), ece, and ece_null.

    ece has 15 bins of equal width; ece_null is what it would be were every probability exactly right.
    """
    logits = _predictions("logits", logits_B, 1)
    target = _rows("target", target_B, logits)
    _reject("target must be 0 or 1", target, (target != 0) & (target != 1))
    weights = _weights(weight, logits)
    yes = target == 1
    logits, probability = logits.double(), logits.double().sigmoid()
    means = {
        "log_loss": torch.nn.functional.softplus(torch.where(yes, -logits, logits)),
        "brier": (probability - yes.double()) ** 2,
        "accuracy": (logits > 0) == yes,
    }
    statistics = _statistics(means, weights)
    residual = _numpy(weights * (probability - yes.double()))
    index = bin_index(probability, _NUM_BINS).cpu().numpy()
    areas = _Areas(_numpy(logits), _numpy(yes), _numpy(weights))

    def measure(counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        total, *sums = (counts_RN @ statistics).T
        result = areas(counts_RN)
        result |= {name: value / total for name, value in zip(means, sums)}
        result["ece"] = np.abs(_sums(index, counts_RN * residual, _NUM_BINS)).sum(1) / total
        return result

    null = float(calibration_null(probability, _NUM_BINS, weight=weights))
    return Evaluation(len(logits), measure, {"ece_null": null}, biased=("ece",))


def evaluate_multiclass(logits_BK: Tensor, target_B: Tensor, weight: Tensor | None = None) -> Evaluation:
    """accuracy, macro_f1, log_loss, top5_accuracy (from six classes on), ece of the top class, and ece_null.

    macro_f1 is the mean over classes that occur as target or as prediction. top5_accuracy is the expectation
    over the orderings of equal logits; for the others the first of equal logits is the prediction.
    """
    logits = _predictions("logits", logits_BK, 2)
    target = _rows("target", target_B, logits)
    num_classes = logits.shape[1]
    if target.is_floating_point():
        raise ValueError(f"target must hold class numbers, got {target.dtype}")
    _reject(f"target must be 0 … {num_classes - 1}", target, (target < 0) | (target >= num_classes))
    weights = _weights(weight, logits)
    target = target.long()
    log_probability = logits.log_softmax(1)
    confidence, predicted = log_probability.max(1)
    confidence, correct = confidence.double().exp().clamp(max=1), predicted == target
    means = {"accuracy": correct, "log_loss": -log_probability.gather(1, target[:, None])[:, 0]}
    if num_classes > 5:
        own = logits.gather(1, target[:, None])
        above, level = (logits > own).sum(1), (logits == own).sum(1)
        means["top5_accuracy"] = ((5 - above) / level).clamp(0, 1)
    statistics = _statistics(means, weights)
    residual = _numpy(weights * (confidence - correct.double()))
    index = bin_index(confidence, _NUM_BINS).cpu().numpy()
    row_weight, row_target, row_predicted = _numpy(weights), target.cpu().numpy(), predicted.cpu().numpy()
    hits = _numpy(correct)

    def measure(counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        total, *sums = (counts_RN @ statistics).T
        result = {name: value / total for name, value in zip(means, sums)}
        mass = counts_RN * row_weight
        occurs = _sums(row_target, mass, num_classes) + _sums(row_predicted, mass, num_classes)
        f1 = 2 * _sums(row_target, mass * hits, num_classes) / occurs
        result["macro_f1"] = np.nansum(f1, axis=1) / (occurs > 0).sum(1)
        result["ece"] = np.abs(_sums(index, counts_RN * residual, _NUM_BINS)).sum(1) / total
        return result

    null = float(calibration_null(confidence, _NUM_BINS, weight=weights))
    return Evaluation(len(logits), measure, {"ece_null": null}, biased=("ece",))


def token_values(
    log_probability_WT: Tensor, correct_WT: Tensor, mask_WT: Tensor | None = None
) -> dict[str, Tensor]:
    """Of each window `[W]` its number of tokens, and their sums of loss and of right predictions.

    `log_probability` is that of the token that came, `correct` whether it was the most probable one, `mask` is
    True where a token counts.
    """
    log_probability = _predictions("log_probability", log_probability_WT, 2)
    counted = torch.ones_like(log_probability) if mask_WT is None else mask_WT
    counted = counted.to(log_probability.device, torch.float64)
    return {
        "tokens": counted.sum(1),
        "loss": (-log_probability.double() * counted).sum(1),
        "hits": (correct_WT.to(counted.device) * counted).sum(1),
    }


def evaluate_windows(values: dict[str, Tensor]) -> Evaluation:
    """log_loss, bits_per_character (log_loss / ln 2) and accuracy over the tokens of all windows.

    `values` are those of `token_values`. Whole windows are resampled: neighbouring tokens are not independent.
    """
    statistics = np.stack([_numpy(values[name]) for name in ("tokens", "loss", "hits")], axis=1)
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
    """`evaluate_windows` of `token_values`."""
    return evaluate_windows(token_values(log_probability_WT, correct_WT, mask_WT))


def evaluate_regression(prediction_B: Tensor, target_B: Tensor, weight: Tensor | None = None) -> Evaluation:
    """rmse, mae, r2 (NaN where the target is constant) and median_ae (weighted median of |error|)."""
    prediction = _predictions("prediction", prediction_B, 1).double()
    target = _rows("target", target_B, prediction).double()
    _reject("target must be finite", target, ~torch.isfinite(target))
    weights = _weights(weight, prediction)
    error = (prediction - target).abs()
    # centred for precision; a constant target is exactly 0, which its own mean may miss by a rounding
    centred = target - (target[0] if bool((target == target[0]).all()) else target.mean())
    moments = {"mse": error**2, "mae": error, "mean": centred, "square": centred**2}
    statistics = _statistics(moments, weights)
    errors, row_weight = _numpy(error), _numpy(weights)
    order = np.argsort(errors)
    errors = errors[order]

    def measure(counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        total, *sums = (counts_RN @ statistics).T
        mse, mae, mean, square = (value / total for value in sums)
        variance = square - mean**2
        variance[variance <= 1e-12 * square] = np.nan
        mass = np.cumsum((counts_RN * row_weight).take(order, axis=1), axis=1)
        median = [(errors[_at(row, "left")] + errors[_at(row, "right")]) / 2 for row in mass]
        return {"rmse": np.sqrt(mse), "mae": mae, "r2": 1 - mse / variance, "median_ae": np.array(median)}

    return Evaluation(len(error), measure)


class _Areas:
    """AUROC and average precision under row counts, rows sorted once by falling score, equals as one step."""

    def __init__(self, score: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> None:
        self.order = np.argsort(-score)
        self.weight = weight[self.order]
        ranked, number = score[self.order], np.arange(len(score))
        step = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # where each group of equals starts
        group = np.searchsorted(step, number, side="right") - 1
        self.positives = np.flatnonzero(positive[self.order])
        groups, self.cuts = np.unique(group[self.positives], return_index=True)
        self.first, self.last = step[groups], np.r_[step[1:], len(score)][groups]

    def __call__(self, counts_RN: np.ndarray) -> dict[str, np.ndarray]:
        mass = counts_RN.take(self.order, axis=1) * self.weight
        total = np.zeros((len(mass), mass.shape[1] + 1))
        np.cumsum(mass, axis=1, out=total[:, 1:])
        if not len(self.positives):
            undefined = np.full(len(mass), np.nan)
            return {"auroc": undefined, "average_precision": undefined}
        found = np.add.reduceat(mass.take(self.positives, axis=1), self.cuts, axis=1)
        found_so_far = np.cumsum(found, axis=1)
        num_found, num_other = found_so_far[:, -1], total[:, -1] - found_so_far[:, -1]
        seen, seen_before = total.take(self.last, axis=1), total.take(self.first, axis=1)
        # other rows above a group, half of those level with it counted in
        above = (seen - found_so_far + seen_before - (found_so_far - found)) / 2
        precision = np.divide(found_so_far, seen, out=np.zeros_like(seen), where=seen > 0)
        return {
            "auroc": 1 - (found * above).sum(1) / (num_found * num_other),
            "average_precision": (found * precision).sum(1) / num_found,
        }


def _predictions(name: str, value: Tensor, num_dims: int) -> Tensor:
    if value.ndim != num_dims or not value.numel():
        shape = "[B]" if num_dims == 1 else "[B, K]"
        raise ValueError(f"{name} must be {shape} with B > 0, got {tuple(value.shape)}")
    if not value.is_floating_point() or value.dtype.itemsize < 4:
        value = value.float()
    _reject(f"{name} must be finite", value, ~torch.isfinite(value))
    value = value.detach()
    return value.cpu() if value.device.type == "mps" else value  # no float64 there


def _rows(name: str, value: Tensor, like: Tensor) -> Tensor:
    if value.shape != like.shape[:1]:
        raise ValueError(f"{name} must be [B] = [{len(like)}], got {tuple(value.shape)}")
    return value.detach().to(like.device)


def _weights(weight: Tensor | None, like: Tensor) -> Tensor:
    if weight is None:
        return torch.ones(len(like), dtype=torch.float64, device=like.device)
    weight = _rows("weight", weight, like).double()
    _reject("weight must be finite and at least 0", weight, ~((weight >= 0) & (weight < torch.inf)))
    if not weight.any():
        raise ValueError("weight must be above 0 somewhere")
    return weight


def _reject(rule: str, value: Tensor, wrong: Tensor) -> None:
    if wrong.any():
        raise ValueError(
            f"{rule}: {int(wrong.sum())} of {wrong.numel()} are not, such as {value[wrong][0].item()}"
        )


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().double().numpy()


def _statistics(columns: dict[str, Tensor], weight: Tensor) -> np.ndarray:
    """`[B, 1 + columns]`: the weight of each row and its weighted statistics."""
    return _numpy(torch.stack([weight, *(weight * value for value in columns.values())], dim=1))


def _sums(group: np.ndarray, value_RN: np.ndarray, num_groups: int) -> np.ndarray:
    """`[R, num_groups]`: each row of values summed by group."""
    return np.stack([np.bincount(group, value, num_groups) for value in value_RN])


def _at(cumulative: np.ndarray, side: Literal["left", "right"]) -> int:
    """The place of the median in sorted rows with these cumulative weights; the sides differ at a draw."""
    return min(int(np.searchsorted(cumulative, cumulative[-1] / 2, side)), len(cumulative) - 1)
