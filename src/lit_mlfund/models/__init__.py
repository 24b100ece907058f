"""Provides plain PyTorch models, built from a data set's spec: `Model(spec, *, options)`."""

from lit_mlfund.models.decoder import Decoder
from lit_mlfund.models.dlrm import DLRM
from lit_mlfund.models.images import CNN, ResNet
from lit_mlfund.models.linear import Linear
from lit_mlfund.models.list_ranker import ListAttention, ListMLP
from lit_mlfund.models.mlp import MLP
from lit_mlfund.models.tabm import TabM
from lit_mlfund.models.transformer import Transformer
from lit_mlfund.models.two_tower import TwoTower

__all__ = [
    "CNN",
    "DLRM",
    "MLP",
    "Decoder",
    "Linear",
    "ListAttention",
    "ListMLP",
    "ResNet",
    "TabM",
    "Transformer",
    "TwoTower",
]
