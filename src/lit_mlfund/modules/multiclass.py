"""Multi-class classification: features, exactly one of K classes, K logits."""

from __future__ import annotations

from typing import Any, ClassVar

from lit_mlfund.metrics import Evaluation, evaluate_multiclass
from lit_mlfund.modules.outputs import Evidence
from lit_mlfund.modules.pointwise import PointModule


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

    def evaluate(self, evidence: Evidence, split: str) -> Evaluation:
        return evaluate_multiclass(evidence["output"], evidence["target"], evidence.get("weight"))

    def predictions(self, evidence: Evidence) -> dict[str, Any]:
        probability = evidence["output"].double().softmax(-1).cpu()
        columns: dict[str, Any] = {
            "prediction": [self.spec.classes[code] for code in probability.argmax(-1).tolist()]
        }
        for code, label in enumerate(self.spec.classes):
            columns[f"probability_{label}"] = probability[:, code].numpy()
        return columns
