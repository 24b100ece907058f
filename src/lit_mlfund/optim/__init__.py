"""Provides optimizers, parameter groups, schedules and the L1 proximal step in plain PyTorch."""

from lit_mlfund.optim.adaptive import adam, adamw
from lit_mlfund.optim.classic import sgd
from lit_mlfund.optim.combined import Combined
from lit_mlfund.optim.embedding_tables import ShardedTables, SparseTables
from lit_mlfund.optim.groups import parameter_groups
from lit_mlfund.optim.low_memory import adafactor, adamw8bit
from lit_mlfund.optim.memory import state_bytes
from lit_mlfund.optim.orthogonal import muon
from lit_mlfund.optim.proximal import soft_threshold_
from lit_mlfund.optim.recent import lion, schedule_free
from lit_mlfund.optim.rowwise import RowwiseAdagrad
from lit_mlfund.optim.schedules import (
    annealing,
    anneals,
    constant,
    constant_multiplier,
    cosine,
    cosine_multiplier,
    inverse_sqrt,
    inverse_sqrt_multiplier,
    linear,
    linear_multiplier,
    one_cycle,
    one_cycle_multiplier,
    reduce_on_plateau,
)
from lit_mlfund.optim.second_order import sophia

__all__ = [
    "Combined",
    "RowwiseAdagrad",
    "ShardedTables",
    "SparseTables",
    "adafactor",
    "adam",
    "adamw",
    "adamw8bit",
    "annealing",
    "anneals",
    "constant",
    "constant_multiplier",
    "cosine",
    "cosine_multiplier",
    "inverse_sqrt",
    "inverse_sqrt_multiplier",
    "linear",
    "linear_multiplier",
    "lion",
    "muon",
    "one_cycle",
    "one_cycle_multiplier",
    "parameter_groups",
    "reduce_on_plateau",
    "schedule_free",
    "sgd",
    "soft_threshold_",
    "sophia",
    "state_bytes",
]
