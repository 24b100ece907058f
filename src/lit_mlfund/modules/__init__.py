"""Provides LightningModules: one training step for all, and the additions of each task shape."""

from lit_mlfund.modules.base import TaskModule
from lit_mlfund.modules.classification import BinaryModule, MulticlassModule
from lit_mlfund.modules.next_token import NextTokenModule
from lit_mlfund.modules.ranking import RankingModule
from lit_mlfund.modules.regression import RegressionModule
from lit_mlfund.modules.retrieval import RetrievalModule

__all__ = [
    "BinaryModule",
    "MulticlassModule",
    "NextTokenModule",
    "RankingModule",
    "RegressionModule",
    "RetrievalModule",
    "TaskModule",
]
