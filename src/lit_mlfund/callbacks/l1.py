"""Implements L1 regularization by a proximal step after every optimizer step."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from lit_mlfund.data.serving.batch import Inputs, ListBatch
from lit_mlfund.data.serving.store import ListStore, PointStore
from lit_mlfund.diagnostics.finding import Finding
from lit_mlfund.diagnostics.measures.unused_inputs import unused_inputs
from lit_mlfund.optim import soft_threshold_

MAX_NAMES = 50  # of unused inputs in the finding
NUM_PROBE_EXAMPLES = 64  # to test whether an input is used


def select_weights(model: nn.Module, pattern: str) -> dict[str, nn.Parameter]:
    """Return the trainable weights of two or more dimensions whose names match a shell pattern.

    Raises ValueError if there are none, or if one is a table with sparse gradients.
    """
    selected = {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.ndim >= 2 and fnmatchcase(name, pattern)
    }
    if not selected:
        raise ValueError(f"parameters: no weight of the model has a name that matches {pattern}")
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding) and m.sparse}
    for name, parameter in selected.items():
        if id(parameter) in tables:
            raise ValueError(
                f"parameters: {pattern} matches {name}, a table of which a step updates few rows (sparse gradients); "
                "select other weights or use embedding=dense"
            )
    return selected


class L1(Callback):
    """Minimizes loss + strength · ‖w‖₁ by proximal gradient descent, which makes weights *exactly* zero.

    Works with any optimizer: after each of its steps every weight moves towards zero by learning rate × strength
    (`soft_threshold_`). Biases and other vectors are not penalized. Logs the share of zeros to TensorBoard after
    every epoch; at the end a finding names the inputs that the best model no longer uses.

    Args:
        strength: of the penalty. Adam and its variants, whose steps have about the size of the learning rate
            whatever the gradient, need a larger strength for zeros (1e-2 … 1) than SGD (1e-4 … 1e-1).
        parameters: shell pattern of the names of the weights, such as `terms.numeric.*`.
    """

    # Averages of weights are rarely zero; schedule_free recomputes the weights from its state; counting zeros and
    # finding unused inputs needs whole weights, not shards.
    not_with = ("EMA", "SWA", "schedule_free", "fsdp")

    def __init__(self, *, strength: float = 1e-3, parameters: str = "*"):
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        self.strength = strength
        self.parameters = parameters
        self._hook: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        selected = {id(parameter) for parameter in select_weights(pl_module.model, self.parameters).values()}
        optimizer = trainer.optimizers[0]
        by_group = [[p for p in group["params"] if id(p) in selected] for group in optimizer.param_groups]

        def shrink(optimizer: Any, *_: Any) -> None:
            for group, parameters in zip(optimizer.param_groups, by_group):
                soft_threshold_(parameters, float(group["lr"]) * self.strength)

        self._hook = optimizer.register_step_post_hook(shrink)

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn != "fit" or not trainer.loggers:
            return
        values = {"l1/zero_share": self.zero_share(pl_module.model)}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)

    def zero_share(self, model: nn.Module) -> float:
        """Return the share of the selected weights that are exactly zero."""
        weights = select_weights(model, self.parameters).values()
        return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)

    def finding(self, module: Any, data: Any) -> Finding:
        """Report the share of zero weights, and the inputs that no longer affect outputs on training examples."""
        share = self.zero_share(module.model)
        evidence: dict[str, Any] = {"zero_share": share, "strength": self.strength}
        symptom = f"L1 made {share:.1%} of the weights exactly 0"
        store = data.stores.get("train")
        if isinstance(store, (PointStore, ListStore)):
            batch = module.received(store.batch(torch.arange(min(NUM_PROBE_EXAMPLES, len(store)))))
            mask = (batch.mask,) if isinstance(batch, ListBatch) else ()

            def predict(x: Inputs) -> Tensor:
                output: Tensor = module.model(x, *mask)
                return output[mask[0]] if mask else output

            training = module.training
            module.eval()
            unused = unused_inputs(predict, batch.x, module.spec.inputs)
            module.train(training)
            num_inputs = sum(field.shape[0] for name, field in module.spec.inputs.items() if name in unused)
            names = [name for columns in unused.values() for name in columns]
            evidence |= {
                "num_inputs": num_inputs,
                "num_unused_inputs": len(names),
                "unused_inputs": names[:MAX_NAMES],
            }
            if num_inputs:
                first_names = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
                symptom += f"; {len(names)} of {num_inputs} inputs are no longer used" + (
                    f": {first_names}" if names else ""
                )
        return Finding(name="l1_selection", severity="info", symptom=symptom, evidence=evidence)
