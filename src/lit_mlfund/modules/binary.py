"""Binary classification: features, a label in {0, 1}, one logit."""

from __future__ import annotations

from typing import Any, ClassVar

from lit_mlfund.metrics import Evaluation, evaluate_binary
from lit_mlfund.modules.outputs import Evidence
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

    def evaluate(self, evidence: Evidence, split: str) -> Evaluation:
        return evaluate_binary(evidence["output"], evidence["target"], evidence.get("weight"))

    def predictions(self, evidence: Evidence) -> dict[str, Any]:
        probability = evidence["output"].double().sigmoid().cpu().numpy()
        negative, positive = self.spec.classes or ("0", "1")
        return {
            "prediction": [positive if p > 0.5 else negative for p in probability],
            "probability": probability,
        }
