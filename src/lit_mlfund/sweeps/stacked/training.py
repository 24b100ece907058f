"""Trains several runs as one stacked model, each with the numbers that it would have alone."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from lit_mlfund.data.serving.batch import PointBatch
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.losses.reduction import PointwiseLoss
from lit_mlfund.models.stacked import StackedDropout, stack
from lit_mlfund.modules.step_statistics import RunningStatistics
from lit_mlfund.startup.signals import REQUEST
from lit_mlfund.startup.streams import OUTPUT, warn
from lit_mlfund.sweeps.stacked.member import Member
from lit_mlfund.sweeps.stacked.member_losses import member_losses

# Kernels process this many elements at once and the remainder one by one, by other instructions: a tensor whose size is
# no multiple of it would not get the same bits as alone.
VECTOR = 32


@dataclass
class Cohort:
    """Groups neighbouring members that share one optimizer and differ in their seeds alone.

    start, size  their rows of the stacked parameters
    parts        parameter name -> tensors that the optimizer updates: all rows in one, or one per row
    """

    start: int
    size: int
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler | None
    parts: dict[str, list[Tensor]]


class StackedTraining:
    """Trains `members` from their first step to their last.

    Args:
        members: those of one optimizer and schedule next to each other.
        cohorts: the number of members of each optimizer, in order.
        data: what all of them train on.
    """

    def __init__(self, members: Sequence[Member], cohorts: Sequence[int], data: DataModule) -> None:
        store = data.stores["train"]
        assert isinstance(store, PointStore)
        self.store, self.data = store, data
        self.config = members[0].config
        self.members = list(members)
        self.limit = float(self.config.trainer.gradient_clip_val or "inf")
        self.running = RunningStatistics()
        self.val = list(data.val_dataloader())
        self.model = stack([member.module.model for member in members], [])
        self.parameters = dict(self.model.named_parameters())
        self.loss = copy.deepcopy(members[0].module.loss)
        assert isinstance(self.loss, PointwiseLoss)
        self.loss.reduction = "none"
        self.cohorts: list[Cohort] = []
        num_steps = len(members[0].loader) * self.config.trainer.max_epochs
        start = 0
        for size in cohorts:
            module = members[start].module
            optimizer = module.make_optimizer()
            schedule = module.make_schedule(optimizer, num_steps)
            assert schedule is None or isinstance(schedule, LRScheduler)
            self.cohorts.append(Cohort(start, size, optimizer, schedule, {}))
            start += size
        self._bind([group["param_names"] for group in self.cohorts[0].optimizer.param_groups])

    def fit(self) -> None:
        """Train until every member has stopped; a signal ends it at once, as nothing is saved on the way."""
        epochs = self.config.trainer.max_epochs
        for epoch in range(epochs):
            started, number = time.perf_counter(), len(self.members)
            self._epoch(epoch)
            continuing = [self._validate(member, epoch + 1) for member in self.members]
            seconds = time.perf_counter() - started
            if not OUTPUT.quiet:
                warn(f"epoch {epoch + 1}/{epochs}  {number} in training  {seconds:.1f} s")
            self._retire([continues and epoch + 1 < epochs for continues in continuing])
            if not self.members:
                return

    # --- steps ----------------------------------------------------------------------------------------

    def _epoch(self, epoch: int) -> None:
        order = torch.stack([torch.cat(member.loader.order(epoch)) for member in self.members])  # [M, N]
        every = self.config.trainer.log_every_n_steps
        self.model.train()
        for number, index in enumerate(order.split(self.data.batch_size, dim=1), 1):
            REQUEST.check()
            aligned = index.shape[1] % VECTOR == 0
            losses = self._gradients(index) if aligned else self._gradients_one_by_one(index)
            self.running.add_loss(losses)
            self._clip()
            for cohort in self.cohorts:
                self._update(cohort)
            for member in self.members:
                member.step += 1
            if number % every == 0:
                self._record()
        self._record()

    def _gradients(self, index: Tensor) -> Tensor:
        """Return losses `[M]` of the batches at `index [M, B]`; gradients of their sum are each member's own."""
        members, rows = index.shape
        flat = self.store.batch(index.reshape(-1))
        x = {name: value.unflatten(0, (members, rows)) for name, value in flat.x.items()}
        module = self.members[0].module
        target: Tensor = module.loss_target(flat.y)  # type: ignore[operator]
        losses = member_losses(self.loss, members, self.model(x).flatten(0, 1), target, flat.weight)
        for parameter in self.parameters.values():
            parameter.grad = None
        losses.sum().backward()
        return losses.detach()

    def _gradients_one_by_one(self, index: Tensor) -> Tensor:
        """Return the same losses and gradients, computed by each member's own module."""
        state, losses = torch.get_rng_state(), []
        for member, rows in zip(self.members, index):
            torch.set_rng_state(member.generator.get_state())
            member.module.train()
            member.module.zero_grad()
            loss = member.module.batch_loss(self.store.batch(rows))
            loss.backward()
            losses.append(loss.detach())
            member.generator.set_state(torch.get_rng_state())
        torch.set_rng_state(state)
        own = [dict(member.module.model.named_parameters()) for member in self.members]
        for name, parameter in self.parameters.items():
            gradients = [_gradient(parameters[name]) for parameters in own]
            parameter.grad = torch.stack(gradients).view_as(parameter)
        return torch.stack(losses)

    def _clip(self) -> None:
        """Clip the gradients of each member by their own norm."""
        gradients = [_gradient(parameter) for parameter in self.parameters.values()]
        norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms, dim=1), dim=1)
        if not bool((norm + 1e-6 <= self.limit).all()):
            factor = (self.limit / (norm + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factor.view(-1, *(1,) * (gradient.ndim - 1)))
        self.running.add_norm(norm, self.limit)

    def _update(self, cohort: Cohort) -> None:
        for name, parameter in self.parameters.items():
            rows = _gradient(parameter)[cohort.start : cohort.start + cohort.size]
            parts = cohort.parts[f"model.{name}"]
            for part, gradient in zip(parts, [rows] if len(parts) == 1 else rows.split(1)):
                part.grad = gradient
        if cohort.size:
            cohort.optimizer.step()
        if cohort.schedule is not None:
            cohort.schedule.step()

    def _record(self) -> None:
        if not self.running.num_steps:
            return
        num_steps = self.running.num_steps
        statistics = self.running.split(len(self.members))
        for cohort in self.cohorts:
            rates = {f"lr/{group['name']}": float(group["lr"]) for group in cohort.optimizer.param_groups}
            for row in range(cohort.start, cohort.start + cohort.size):
                if not self.members[row].failure:
                    self.members[row].record_steps(statistics[row].read(), num_steps, rates)

    # --- between epochs -------------------------------------------------------------------------------

    @torch.no_grad()
    def _validate(self, member: Member, epoch: int) -> bool:
        """Evaluate a member's own module and return whether its training continues."""
        if member.failure:
            return False
        module = member.module.eval()
        for batch in self.val:
            assert isinstance(batch, PointBatch)
            module.collect(batch)
        outputs, loss = module.drain()
        return member.record_epoch(epoch, {"loss": loss, **module.evaluate(outputs, "val").values()})

    def _retire(self, continuing: list[bool]) -> None:
        """Store weights and optimizer states of the members that have ended, and remove their rows from the stack."""
        if all(continuing):
            return
        names = [group["param_names"] for group in self.cohorts[0].optimizer.param_groups]
        states = []
        for cohort in self.cohorts:
            for row in range(cohort.size):
                states.append({name: _state(cohort, name, row) for name in cohort.parts})
        for member, state, continues in zip(self.members, states, continuing):
            if not continues:
                member.last_weights, member.optimizer_state = member.weights(), state
        keep = [row for row, continues in enumerate(continuing) if continues]
        for parameter in self.parameters.values():
            parameter.data, parameter.grad = parameter.data[keep], None
        remaining: list[list[Any]] = []
        for cohort in self.cohorts:
            rows = [row for row in keep if cohort.start <= row < cohort.start + cohort.size]
            cohort.start, cohort.size = sum(len(own) for own in remaining), len(rows)
            remaining.append([states[row] for row in rows])
        self.members = [self.members[row] for row in keep]
        self._bind(names)
        for cohort, own in zip(self.cohorts, remaining):
            _restore(cohort, own)

    def _bind(self, names: list[list[str]]) -> None:
        """Make rows of the stacked parameters the parameters of the members' modules and of the optimizers."""
        for module in self.model.modules():
            if isinstance(module, StackedDropout):
                module.generators = [member.generator for member in self.members]
        for name, parameter in self.parameters.items():
            for member, row in zip(self.members, parameter.detach()):
                own = member.module.model.get_parameter(name)
                own.data = row.view_as(own)
        for cohort in self.cohorts:
            cohort.parts = {}
            for group, group_names in zip(cohort.optimizer.param_groups, names):
                group["params"] = []
                for name in group_names:
                    stacked = self.parameters[name.removeprefix("model.")].detach()
                    rows = stacked[cohort.start : cohort.start + cohort.size]
                    whole = rows.numel() % (VECTOR * max(cohort.size, 1)) == 0
                    cohort.parts[name] = [rows] if whole else list(rows.split(1))
                    group["params"] += cohort.parts[name]
            cohort.optimizer.state.clear()


def _gradient(parameter: nn.Parameter | Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _state(cohort: Cohort, name: str, row: int) -> dict[str, Any]:
    """Return the optimizer's state of one member's parameter."""
    parts = cohort.parts[name]
    whole = len(parts) == 1
    state = cohort.optimizer.state[parts[0 if whole else row]]
    rows = slice(row, row + 1) if whole else slice(None)
    return {
        key: value[rows].clone() if isinstance(value, Tensor) and value.ndim else value
        for key, value in state.items()
    }


def _restore(cohort: Cohort, states: list[dict[str, dict[str, Any]]]) -> None:
    """Give the optimizer the states of the members that continue."""
    for name, parts in cohort.parts.items() if states else ():
        own = [state[name] for state in states]
        for number, part in enumerate(parts):
            chosen = own if len(parts) == 1 else [own[number]]
            cohort.optimizer.state[part] = {
                key: torch.cat([state[key] for state in chosen])
                if isinstance(value, Tensor) and value.ndim
                else value.clone()
                if isinstance(value, Tensor)
                else value
                for key, value in chosen[0].items()
            }
