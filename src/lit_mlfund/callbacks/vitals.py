"""Collects what the doctor wants to know of a training: updates by layer, first losses, order of the rows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor, nn

from lit_mlfund.callbacks.weights import layer_groups
from lit_mlfund.data.serving.batch import PointBatch
from lit_mlfund.data.serving.store import ListStore, PointStore
from lit_mlfund.diagnostics.evidence import Layer

GROWTH = 1.25  # of the number of the step between two samples
MAX_SAMPLED = 4096  # weights of a parameter that are compared with their first values
NUM_ROWS = 512  # of the training split that are evaluated before the first step
LARGE = 1 << 20  # weights of a parameter beyond which a sample of them is looked at in a step
MAX_BATCHES = 200  # whose mean target is kept


@dataclass
class _Group:
    """Holds what is known of the parameters of a layer: samples of them before training, and norms by step."""

    parameters: list[nn.Parameter]
    first: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)  # by sampled step `[3]`: weight, update and gradient


class Vitals(Callback):
    """Samples steps whose distance grows with their number, about 40 in 10,000; all others cost nothing.

    Everything is kept as tensors on the device and read once, after training.
    """

    many_steps = True

    def __init__(self) -> None:
        self.initial: dict[str, float] = {}
        self.seconds = 0.0
        self.missing = "the training took place elsewhere"
        self._groups: dict[str, _Group] = {}
        self._frozen: list[str] = []
        self._next = 0
        self._hooks: list[Any] = []
        self._armed = False
        self._before: list[Tensor] = []
        self._means: list[Tensor] = []
        self._leftovers: list[Tensor] = []
        self._step_ended: float | None = None
        self._step_started: float | None = None
        self.waited, self.worked = (
            0.0,
            0.0,
        )  # seconds for batches and in steps; not of the first batch of an epoch

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        with self._timed(), torch.no_grad():
            model = pl_module.model
            if any(hasattr(parameter, "to_local") for parameter in model.parameters()):
                self.missing = "the weights lie in shards"
                return
            self._frozen = [name for name, part in model.named_modules() if _is_frozen(part)]
            if trainer.global_step > 0:
                self.missing = "the run was resumed: its first steps were not seen"
                return
            self.missing = ""
            self._groups = {name: _Group(group) for name, group in layer_groups(model).items()}
            for group in self._groups.values():
                group.first = [_sample(parameter).clone() for parameter in group.parameters]
            self._evaluate(trainer, pl_module)
            self._watch(trainer)

    def _evaluate(self, trainer: Any, module: Any) -> None:
        """Evaluate rows of the training split with the first weights, without a trace in any state."""
        store = getattr(trainer.datamodule, "stores", {}).get("train")
        if not isinstance(store, (PointStore, ListStore)):
            return
        size = min(len(store), trainer.datamodule.batch_size, NUM_ROWS)  # a fraction of a step
        index = torch.linspace(0, len(store) - 1, size).long()
        training, state = module.training, torch.get_rng_state()
        module.eval()
        for part in index[module.global_rank :: trainer.world_size].split(trainer.datamodule.eval_batch_size):
            module.collect(store.batch(part))
        module.train(training)
        torch.set_rng_state(state)
        outputs, loss = module.drain()
        self.initial = {"loss": loss}
        if bool(torch.isfinite(outputs.output).all()):
            self.initial |= module.evaluate(outputs, "train").values()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._step_ended = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._step_started = time.perf_counter()
        if self._step_ended is not None:
            self.waited += self._step_started - self._step_ended

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._step_started is not None and self._step_ended is not None:
            self.worked += time.perf_counter() - self._step_started
        if len(self._means) < MAX_BATCHES and trainer.current_epoch == 0:
            for part in batch if isinstance(batch, tuple) else (batch,):
                if isinstance(part, PointBatch):
                    self._means.append(part.y.float().mean())
        if not self._armed:  # under accumulation the step comes some batches later
            self._remove()
        if self._groups and trainer.global_step >= self._next:
            self._watch(trainer)
        self._step_ended = time.perf_counter()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._remove()

    def _watch(self, trainer: Any) -> None:
        """Measure the next step."""
        self._next = int(max(trainer.global_step, 1) * GROWTH) + 1
        optimizer = trainer.optimizers[0]
        self._armed = True  # for one step: several may follow before the hooks can be removed
        self._remove()
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        parameter = next(
            (p for group in self._groups.values() for p in group.parameters if p.requires_grad), None
        )
        if parameter is not None:
            self._hooks.append(parameter.register_hook(self._leftover_of(parameter)))

    def _leftover_of(self, parameter: nn.Parameter) -> Callable[[Tensor], None]:
        """Return a hook that notes what the first gradient of a step is added to: nothing, if it was zeroed."""
        waiting = [True]

        def hook(gradient: Tensor) -> None:
            if waiting:
                waiting.clear()
                old = parameter.grad
                size = torch.zeros((), device=gradient.device) if old is None else _dense(old.detach()).norm()
                self._leftovers.append(size / _dense(gradient.detach()).norm().clamp(min=1e-30))

        return hook

    def _remove(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._before = [], []

    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        if self._armed:
            self._before = [_entries(p).clone() for group in self._groups.values() for p in group.parameters]

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        if not self._before:
            return
        with self._timed():
            before = iter(self._before)
            for group in self._groups.values():
                old = [next(before) for _ in group.parameters]
                gradients = [_dense(p.grad) for p in group.parameters if p.grad is not None]
                group.norms.append(
                    torch.stack(
                        [
                            torch.stack(torch._foreach_norm(old)).norm(),
                            torch.stack(
                                [(_entries(p) - first).norm() for p, first in zip(group.parameters, old)]
                            ).norm(),
                            torch.stack([gradient.norm() for gradient in gradients]).norm()
                            if gradients
                            else torch.zeros((), device=old[0].device),
                        ]
                    ).float()
                )
        self._before, self._armed = [], False

    # --- what was seen --------------------------------------------------------------------------------

    def layers(self) -> list[Layer]:
        """Return what is known of each layer."""
        layers = [Layer(name, trainable=False) for name in self._frozen]
        for name, group in self._groups.items():
            now = [_sample(parameter).detach() for parameter in group.parameters]
            first = _norm(group.first)
            moved = _norm([new - old for new, old in zip(now, group.first)])
            norms = torch.stack(group.norms).cpu() if group.norms else None
            layers.append(
                Layer(
                    name,
                    trainable=True,
                    gradient=None if norms is None else float(norms[:, 2].max()),
                    update=None if norms is None else float(_ratios(norms).median()),
                    moved=moved / max(first, _norm(now), 1e-12),
                    shrunk=_norm(now) / max(first, 1e-12),
                )
            )
        return layers

    def updates(self) -> list[float]:
        """Return by sampled step the largest update-to-weight ratio of a layer."""
        ratios = [_ratios(torch.stack(group.norms)) for group in self._groups.values() if group.norms]
        return [] if not ratios else torch.stack(ratios).amax(0).tolist()

    def leftover(self) -> float | None:
        """Return the median over the sampled steps of ‖gradient before backward‖ / ‖gradient that was added to it‖."""
        later = self._leftovers[1:]  # before the first step there can be none
        return float(torch.stack(later).float().median()) if later else None

    def batch_spread(self, store: Any, batch_size: int) -> float | None:
        """Return the variance of the mean target of the first batches, over that of batches drawn at random."""
        if len(self._means) < 10 or not isinstance(store, PointStore):
            return None
        expected = float(store.y.double().var()) / batch_size * max(1 - batch_size / len(store), 0)
        return float(torch.stack(self._means).double().var()) / expected if expected > 0 else None


def _ratios(norms: Tensor) -> Tensor:
    """Return update over weight for norms `[steps, 3]`; at most 1, as weights may begin at zero."""
    return norms[:, 1] / (norms[:, 0] + norms[:, 1]).clamp(min=1e-12)


def _entries(parameter: Tensor) -> Tensor:
    """Return the weights that are looked at: all, or of a large table evenly spaced ones."""
    return parameter.detach() if parameter.numel() <= LARGE else _sample(parameter)


def _sample(parameter: Tensor) -> Tensor:
    flat = parameter.detach().reshape(-1)
    return flat[:: max(1, len(flat) // MAX_SAMPLED)]


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.stack([tensor.float().norm() for tensor in tensors]).norm()) if tensors else 0.0


def _dense(gradient: Tensor) -> Tensor:
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def _is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(parameter.requires_grad for parameter in own)
