"""Lightning callbacks: checkpoints, progress, stopping, and what TensorBoard shows."""

from lit_mlfund.callbacks.checkpoints import BestAndLast
from lit_mlfund.callbacks.early_stopping import EarlyStopping
from lit_mlfund.callbacks.preemption import Preempted, PreemptionFlag, StopOnPreemption
from lit_mlfund.callbacks.progress import Progress, TrainingDiverged

__all__ = [
    "BestAndLast",
    "EarlyStopping",
    "Preempted",
    "PreemptionFlag",
    "Progress",
    "StopOnPreemption",
    "TrainingDiverged",
]
