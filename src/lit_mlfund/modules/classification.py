"""Classifies rows: a label in {0, 1} by one logit, or exactly one of K classes by K logits."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from lit_mlfund.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from lit_mlfund.metrics import Evaluation, evaluate_binary, evaluate_multiclass
from lit_mlfund.modules.outputs import PointOutputs
from lit_mlfund.modules.pointwise import PointModule


class BinaryModule(PointModule):
    """Trains a model that returns logits `[B]`; probabilities are their sigmoid."""

    task = "binary"
    metrics: ClassVar[dict[str, str]] = {
        "auroc": "max",
        "average_precision": "max",
        "log_loss": "min",
        "brier": "min",
        "accuracy": "max",
        "ece": "min",
    }
    figures = ("roc_and_precision_recall", "reliability")

    def default_loss(self) -> nn.Module:
        return BinaryCrossEntropyLoss()

    def evaluation(self, values: dict[str, Tensor]) -> Evaluation:
        return evaluate_binary(values["output"], values["target"], values.get("weight"))

    def undefined_monitor(self, data: Any) -> str | None:
        labels = getattr(data.stores.get("val"), "y", None)
        if self.monitor not in ("val/auroc", "val/average_precision") or not isinstance(labels, Tensor):
            return None
        if labels.unique().numel() > 1:
            return None
        label = (self.spec.classes or ("0", "1"))[int(labels[0])]
        return (
            f"all {len(labels):,} validation rows are {label!r}, so {self.monitor} is undefined; "
            "use another split, or monitor=val/log_loss"
        )

    def target_columns(self, target: Tensor) -> dict[str, Any]:
        return labelled(self.spec.classes, target)

    def predictions(self, outputs: PointOutputs) -> dict[str, Any]:
        probability = outputs.output.double().sigmoid().cpu().numpy()
        negative, positive = self.spec.classes or ("0", "1")
        return {
            "prediction": [positive if p > 0.5 else negative for p in probability],
            "probability": probability,
        }


class MulticlassModule(PointModule):
    """Trains a model that returns logits `[B, K]`; probabilities are their softmax."""

    task = "multiclass"
    metrics: ClassVar[dict[str, str]] = {
        "accuracy": "max",
        "macro_f1": "max",
        "log_loss": "min",
        "top5_accuracy": "max",
        "ece": "min",
    }
    figures = ("confusion",)

    def default_loss(self) -> nn.Module:
        return CrossEntropyLoss()

    def evaluation(self, values: dict[str, Tensor]) -> Evaluation:
        return evaluate_multiclass(values["output"], values["target"], values.get("weight"))

    def target_columns(self, target: Tensor) -> dict[str, Any]:
        return labelled(self.spec.classes, target)

    def predictions(self, outputs: PointOutputs) -> dict[str, Any]:
        probability = outputs.output.double().softmax(-1).cpu()
        columns: dict[str, Any] = {
            "prediction": [self.spec.classes[code] for code in probability.argmax(-1).tolist()]
        }
        for code, label in enumerate(self.spec.classes):
            columns[f"probability_{label}"] = probability[:, code].numpy()
        return columns


def labelled(classes: tuple[str, ...], target: Tensor) -> dict[str, Any]:
    """Return the columns `label` and `target` for targets that are codes of classes."""
    return {"label": [classes[code] for code in target.long().tolist()], "target": target.numpy()}
