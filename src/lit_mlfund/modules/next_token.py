"""Language modelling: multi-class classification at every position of a sequence."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lit_mlfund.data.preprocessing.characters import UNKNOWN_NAME
from lit_mlfund.data.serving.batch import PointBatch
from lit_mlfund.metrics import Evaluation, evaluate_tokens
from lit_mlfund.modules.outputs import Evidence
from lit_mlfund.modules.pointwise import PointModule


class NextTokenModule(PointModule):
    """Trains a model that returns logits `[B, T, K]` against the next tokens `[B, T]`; a position is a row.

    Any multi-class loss fits: it is given all positions of the batch as one. An evaluation keeps the
    probability of each token that came, not those of all K: about 40 bytes a token, whatever the vocabulary.
    """

    task = "multiclass"
    metrics: ClassVar[dict[str, str]] = {"log_loss": "min", "bits_per_character": "min", "accuracy": "max"}

    def _loss(self, logits: Tensor, batch: PointBatch) -> Tensor:
        weight = None if batch.weight is None else batch.weight.flatten()
        return self.loss(logits.flatten(0, 1), batch.y.flatten(), weight=weight)

    def batch_loss(self, batch: PointBatch) -> Tensor:
        return self._loss(self.model(batch.x), batch)

    def evidence(self, batch: PointBatch) -> tuple[Tensor, Evidence]:
        logits = self.model(batch.x)
        log_probability = logits.float().log_softmax(-1)
        evidence = {
            "output": log_probability.gather(-1, batch.y[..., None]).squeeze(-1),
            "prediction": log_probability.argmax(-1).int(),
            "target": batch.y.int(),
            "mask": torch.ones_like(batch.y, dtype=torch.bool) if batch.weight is None else batch.weight > 0,
        }
        if batch.index is not None:  # as for lists: the window, and one more than the place of each token
            evidence["index"] = batch.index
            places = batch.index[:, None] + torch.arange(1, batch.y.shape[1] + 1, device=batch.index.device)
            evidence["row"] = places.int()
        return self._loss(logits, batch), evidence

    def collect(self, batch: Any) -> None:
        loss, evidence = self.evidence(batch)
        self._losses.append((loss, int(evidence["mask"].sum())))  # positions, not windows
        self._buffer.append(evidence)

    def evaluate(self, evidence: Evidence, split: str) -> Evaluation:
        return evaluate_tokens(
            evidence["output"], evidence["prediction"] == evidence["target"], evidence["mask"]
        )

    def predictions(self, evidence: Evidence) -> dict[str, Any]:
        mask = evidence["mask"]
        predicted = evidence["prediction"][mask].tolist()
        return {
            "prediction": [self.spec.classes[code] for code in predicted],
            "probability_of_target": evidence["output"][mask].double().exp().cpu().numpy(),
        }

    def sample(self, num_tokens: int = 400) -> str:
        """A text drawn from the model behind a line break; empty where that is impossible.

        That is a model without `generate`, or one in shards, which one process alone cannot run.
        """
        generate = getattr(self.model, "generate", None)
        if self._sharded or generate is None:
            return ""
        first = self.spec.classes.index("\n") if "\n" in self.spec.classes else 1
        generator = torch.Generator(self.device).manual_seed(0)
        training = self.model.training
        self.model.eval()
        ids = generate(torch.tensor([[first]], device=self.device), num_tokens, generator)
        self.model.train(training)
        text = "".join(self.spec.classes[code] for code in ids[0, 1:].tolist())
        return text.replace(UNKNOWN_NAME, "\N{REPLACEMENT CHARACTER}")
