"""Provides Lightning callbacks for checkpoints, progress, stopping, regularization and TensorBoard scalars."""

from lit_mlfund.callbacks.augmentation import AugmentImages, MaskTokens, Mixup
from lit_mlfund.callbacks.averages import EMA, SWA
from lit_mlfund.callbacks.black_box import BlackBox
from lit_mlfund.callbacks.checkpoint_file import WholeFileCheckpointIO
from lit_mlfund.callbacks.checkpoints import BestAndLast
from lit_mlfund.callbacks.early_stopping import EarlyStopping
from lit_mlfund.callbacks.l1 import L1
from lit_mlfund.callbacks.l2 import L2
from lit_mlfund.callbacks.progress import Progress, TrainingDiverged
from lit_mlfund.callbacks.stop_on_signal import StopOnSignal
from lit_mlfund.callbacks.vitals import Vitals
from lit_mlfund.callbacks.weights import WeightStatistics

__all__ = [
    "EMA",
    "L1",
    "L2",
    "SWA",
    "AugmentImages",
    "BestAndLast",
    "BlackBox",
    "EarlyStopping",
    "MaskTokens",
    "Mixup",
    "Progress",
    "StopOnSignal",
    "TrainingDiverged",
    "Vitals",
    "WeightStatistics",
    "WholeFileCheckpointIO",
]
