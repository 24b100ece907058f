"""Models language: multi-class classification at every position of a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lit_mlfund.data.preprocessing.characters import UNKNOWN_NAME
from lit_mlfund.data.serving.batch import PointBatch
from lit_mlfund.losses import CrossEntropyLoss
from lit_mlfund.metrics import Evaluation, evaluate_windows, token_values
from lit_mlfund.modules.base import TaskModule
from lit_mlfund.modules.classification import labelled
from lit_mlfund.modules.curvature import losses_of_draws
from lit_mlfund.modules.outputs import TokenOutputs


class NextTokenModule(TaskModule):
    """Trains a model that returns logits `[B, T, K]` against the next tokens `[B, T]`; a position is a row.

    Any multi-class loss works: it receives all positions of the batch as rows. An evaluation keeps the probability
    of each target token, not those of all K: about 40 bytes per token, whatever the vocabulary.
    """

    task = "multiclass"
    metrics: ClassVar[dict[str, str]] = {"log_loss": "min", "bits_per_character": "min", "accuracy": "max"}
    figures = ("confusion",)
    unit = "characters"

    def default_loss(self) -> nn.Module:
        return CrossEntropyLoss()

    def forward(self, batch: PointBatch) -> Tensor:
        return self.model(batch.x)

    def _loss(self, output: Tensor, batch: PointBatch) -> Tensor:
        weights = {} if batch.weight is None else {"weight": batch.weight.flatten()}
        return self.loss(output.flatten(0, 1), batch.y.flatten(), **weights)

    def batch_loss(self, batch: PointBatch) -> Tensor:
        return self._loss(self.model(batch.x), batch)

    def losses_of_draws(
        self, batch: PointBatch, generator: np.random.Generator
    ) -> tuple[Tensor | None, Tensor | None]:
        return losses_of_draws(self.loss, self.model(batch.x), generator), batch.weight

    def outputs(self, batch: PointBatch) -> tuple[Tensor, TokenOutputs]:
        logits = self.model(batch.x)
        log_probability = logits.float().log_softmax(-1)
        row = None
        if batch.index is not None:
            offsets = torch.arange(1, batch.y.shape[1] + 1, device=batch.index.device)
            row = (batch.index[:, None] + offsets).int()
        outputs = TokenOutputs(
            output=log_probability.gather(-1, batch.y[..., None]).squeeze(-1),
            target=batch.y.int(),
            mask=torch.ones_like(batch.y, dtype=torch.bool) if batch.weight is None else batch.weight > 0,
            row=row,
            index=batch.index,
            prediction=log_probability.argmax(-1).int(),
        )
        return self._loss(logits, batch), outputs

    def metric_values(self, outputs: TokenOutputs, split: str) -> dict[str, Tensor]:
        return token_values(outputs.output, outputs.prediction.eq(outputs.target), outputs.mask)

    def evaluation(self, values: dict[str, Tensor]) -> Evaluation:
        return evaluate_windows(values)

    def count(self, outputs: TokenOutputs) -> dict[str, int]:
        return {"characters": outputs.num_losses, "windows": len(outputs)}

    def references(
        self, data: Any, splits: Sequence[str], seed: int
    ) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
        """Predict the tokens of each split from n-gram counts of the training text."""
        from lit_mlfund.references.ngrams import token_references

        for split in splits:
            outputs, tokens = self.collected[split], data.stores[split].tokens.numpy()
            if not np.array_equal(outputs.flat_target().numpy(), tokens[1:]):
                raise RuntimeError(f"the {split} split was evaluated on other tokens than its store holds")
            by_name = token_references(data.stores["train"].tokens.numpy(), tokens, data.spec.num_classes)
            for name, (log_probability, prediction) in by_name.items():
                predicted = outputs.with_flat_output(torch.from_numpy(prediction[1:]).int()).output
                reference = outputs.with_flat_output(torch.from_numpy(log_probability[1:]).float())
                yield name, split, self.metric_values(replace(reference, prediction=predicted), split)

    def target_columns(self, target: Tensor) -> dict[str, Any]:
        return labelled(self.spec.classes, target)

    def predictions(self, outputs: TokenOutputs) -> dict[str, Any]:
        mask = outputs.mask
        predicted = outputs.prediction[mask].tolist()
        return {
            "prediction": [self.spec.classes[code] for code in predicted],
            "probability_of_target": outputs.output[mask].double().exp().cpu().numpy(),
        }

    def texts(self) -> dict[str, str]:
        sample = self.sample()
        return {"sample": sample} if sample else {}

    def sample(self, num_tokens: int = 400) -> str:
        """Generate a text that follows a line break; return an empty one if that is impossible.

        That is so for a model without `generate`, or a sharded one, which one process alone cannot run.
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
