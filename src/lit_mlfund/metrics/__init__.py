"""Provides metrics of the five task shapes: functions per query, streaming classes, evaluations with intervals."""

from lit_mlfund.interval import Interval
from lit_mlfund.metrics.bootstrap import Evaluation
from lit_mlfund.metrics.calibration import (
    ReliabilityCurve,
    calibration_error,
    calibration_null,
    reliability_curve,
)
from lit_mlfund.metrics.evaluation import (
    evaluate_binary,
    evaluate_multiclass,
    evaluate_regression,
    evaluate_tokens,
    evaluate_windows,
    token_values,
)
from lit_mlfund.metrics.queries import (
    evaluate_queries,
    evaluate_ranking,
    evaluate_retrieval,
    ranking_values,
    retrieval_values,
)
from lit_mlfund.metrics.ranking import average_precision, mrr, ndcg, precision_at_k, recall_at_k
from lit_mlfund.metrics.retrieval import PositiveRanks, embedding_ranks, positive_ranks
from lit_mlfund.metrics.streaming import (
    MRR,
    NDCG,
    AveragePrecision,
    CalibrationError,
    PrecisionAtK,
    RecallAtK,
)

__all__ = [
    "MRR",
    "NDCG",
    "AveragePrecision",
    "CalibrationError",
    "Evaluation",
    "Interval",
    "PositiveRanks",
    "PrecisionAtK",
    "RecallAtK",
    "ReliabilityCurve",
    "average_precision",
    "calibration_error",
    "calibration_null",
    "embedding_ranks",
    "evaluate_binary",
    "evaluate_multiclass",
    "evaluate_queries",
    "evaluate_ranking",
    "evaluate_regression",
    "evaluate_retrieval",
    "evaluate_tokens",
    "evaluate_windows",
    "mrr",
    "ndcg",
    "positive_ranks",
    "precision_at_k",
    "ranking_values",
    "recall_at_k",
    "reliability_curve",
    "retrieval_values",
    "token_values",
]
