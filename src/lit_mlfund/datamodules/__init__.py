"""Provides LightningDataModules, one per kind of data."""

from lit_mlfund.datamodules.base import DataModule
from lit_mlfund.datamodules.bundled import BreastCancerDataModule, DiabetesDataModule, DiamondsDataModule
from lit_mlfund.datamodules.digits import DigitsDataModule, MNIST5kDataModule
from lit_mlfund.datamodules.docstrings import DocstringsDataModule
from lit_mlfund.datamodules.flights import (
    FlightsAirTimeDataModule,
    FlightsLateDataModule,
    FlightsListsDataModule,
)
from lit_mlfund.datamodules.images import ImagesDataModule
from lit_mlfund.datamodules.interactions import InteractionsDataModule
from lit_mlfund.datamodules.language_id import LanguageIdDataModule
from lit_mlfund.datamodules.letor import LetorDataModule
from lit_mlfund.datamodules.retrieval import RetrievalDataModule
from lit_mlfund.datamodules.table import TableDataModule
from lit_mlfund.datamodules.text import TextDataModule
from lit_mlfund.datamodules.text_lm import TextLMDataModule

__all__ = [
    "BreastCancerDataModule",
    "DataModule",
    "DiabetesDataModule",
    "DiamondsDataModule",
    "DigitsDataModule",
    "DocstringsDataModule",
    "FlightsAirTimeDataModule",
    "FlightsLateDataModule",
    "FlightsListsDataModule",
    "ImagesDataModule",
    "InteractionsDataModule",
    "LanguageIdDataModule",
    "LetorDataModule",
    "MNIST5kDataModule",
    "RetrievalDataModule",
    "TableDataModule",
    "TextDataModule",
    "TextLMDataModule",
]
