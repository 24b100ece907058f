"""What docs/metrics.md says about other libraries, claim by claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, ndcg_score
from torch import tensor
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)
from torchmetrics.retrieval import RetrievalMRR

from lit_mlfund.metrics import average_precision, evaluate_binary, mrr, ndcg, precision_at_k, recall_at_k


def one(metric, relevance, scores, **options) -> float:
    return metric(tensor([scores], dtype=torch.float64), tensor([relevance]), **options).item()


def trec(relevance, scores, name):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    qrels = {"q": {f"d{i}": value for i, value in enumerate(relevance)}}
    run = {"q": {f"d{i}": float(value) for i, value in enumerate(scores)}}
    return next(iter(pytrec_eval.RelevanceEvaluator(qrels, {name}).evaluate(run)["q"].values()))


@pytest.fixture
def by_ranx(ranx):
    def evaluate(relevance, scores, name):
        qrels = ranx.Qrels({"q": {f"d{i}": value for i, value in enumerate(relevance)}})
        run = ranx.Run({"q": {f"d{i}": float(value) for i, value in enumerate(scores)}})
        return float(ranx.evaluate(qrels, run, name))

    return evaluate


def test_gain(by_ranx):
    relevance, scores = [1, 3, 2, 0], [0.9, 0.8, 0.7, 0.6]
    linear, exponential = (one(ndcg, relevance, scores, gain=gain) for gain in ("linear", "exponential"))
    assert exponential == pytest.approx(0.7364, abs=1e-4)
    assert linear == pytest.approx(0.8175, abs=1e-4)
    assert ndcg_score([relevance], [scores]) == pytest.approx(linear)
    assert retrieval_normalized_dcg(tensor(scores), tensor(relevance)).item() == pytest.approx(linear)
    assert trec(relevance, scores, "ndcg") == pytest.approx(linear)
    assert by_ranx(relevance, scores, "ndcg") == pytest.approx(linear)
    assert by_ranx(relevance, scores, "ndcg_burges") == pytest.approx(exponential)


def test_ties(by_ranx):
    first, last, equal = [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1.0] * 5
    mean_discount = np.mean(1 / np.log2(np.arange(2, 7)))
    for relevance in (first, last):
        assert one(ndcg, relevance, equal) == pytest.approx(mean_discount)
        assert one(mrr, relevance, equal) == pytest.approx(np.mean(1 / np.arange(1, 6)))
        assert one(recall_at_k, relevance, equal, k=2) == pytest.approx(0.4)
        # averaged in NDCG, by scikit-learn and torchmetrics
        assert ndcg_score([relevance], [equal]) == pytest.approx(mean_discount)
        assert retrieval_normalized_dcg(tensor(equal), tensor(relevance)).item() == pytest.approx(
            mean_discount
        )
        # below every ordering's mean: all of the tied documents count as retrieved first
        assert average_precision_score(relevance, equal) == pytest.approx(0.2)
        assert label_ranking_average_precision_score([relevance], [equal]) == pytest.approx(0.2)
    # by the order of the documents
    assert [by_ranx(relevance, equal, "mrr") for relevance in (first, last)] == pytest.approx([1, 0.2])
    assert [trec(relevance, equal, "recip_rank") for relevance in (first, last)] == pytest.approx([0.2, 1])
    found = [
        retrieval_recall(tensor(equal), tensor(relevance), top_k=2).item() for relevance in (first, last)
    ]
    assert len(set(found)) == 2


def test_binary_average_precision_steps_over_ties_at_once():
    target, logits = tensor([1, 0, 0, 1, 0]), tensor([0.0, 0.0, 0.0, 2.0, -1.0])
    value = evaluate_binary(logits, target).values()["average_precision"]
    assert value == pytest.approx(average_precision_score(target, logits))
    assert value < one(average_precision, target.tolist(), logits.tolist())


def test_scores_below_zero(by_ranx):
    relevance, scores = [1, 0, 0], [-0.7, -0.8, -0.9]
    for metric in (retrieval_reciprocal_rank, retrieval_recall, retrieval_average_precision):
        assert metric(tensor(scores), tensor(relevance)).item() == 0
        assert metric(tensor(scores) + 1, tensor(relevance)).item() == 1
    assert one(mrr, relevance, scores) == one(average_precision, relevance, scores) == 1
    assert trec(relevance, scores, "recip_rank") == by_ranx(relevance, scores, "mrr") == 1


def test_nothing_relevant(by_ranx):
    relevance, scores = [0, 0, 0], [0.3, 0.2, 0.1]
    assert np.isnan(one(ndcg, relevance, scores))
    assert ndcg_score([relevance], [scores]) == 0
    assert trec(relevance, scores, "ndcg") == by_ranx(relevance, scores, "ndcg") == 0
    metric = RetrievalMRR()
    metric.update(tensor(scores * 2), tensor([*relevance, 1, 0, 0]), indexes=tensor([0, 0, 0, 1, 1, 1]))
    assert metric.compute() == 0.5
    skipping = RetrievalMRR(empty_target_action="skip")
    skipping.update(tensor(scores * 2), tensor([*relevance, 1, 0, 0]), indexes=tensor([0, 0, 0, 1, 1, 1]))
    assert skipping.compute() == 1


def test_cutoffs(by_ranx):
    relevance, scores = [1, 0, 1, 1], [0.9, 0.8, 0.7, 0.6]
    ours = one(average_precision, relevance, scores, k=2)
    assert ours == pytest.approx(1 / 3)  # over all three relevant documents
    assert trec(relevance, scores, "map_cut_2") == pytest.approx(ours)
    assert by_ranx(relevance, scores, "map@2") == pytest.approx(ours)
    assert retrieval_average_precision(tensor(scores), tensor(relevance), top_k=2).item() == 1
    short, scores = [1, 1, 0], [0.9, 0.8, 0.7]
    assert one(precision_at_k, short, scores, k=5) == pytest.approx(0.4)
    assert trec(short, scores, "P_5") == by_ranx(short, scores, "precision@5") == pytest.approx(0.4)
    assert retrieval_precision(tensor(scores), tensor(short), top_k=5).item() == pytest.approx(0.4)


def test_one_document(by_ranx):
    assert one(ndcg, [1], [0.3]) == trec([1], [0.3], "ndcg") == by_ranx([1], [0.3], "ndcg") == 1
    assert retrieval_normalized_dcg(tensor([0.3]), tensor([1])) == 1
    with pytest.raises(ValueError, match="more than 1 document"):
        ndcg_score([[1]], [[0.3]])


def test_graded_relevance(by_ranx):
    relevance, scores = [0, 2], [0.1, 0.2]
    assert one(mrr, relevance, scores) == one(precision_at_k, relevance, scores, k=1) == 1
    assert trec(relevance, scores, "recip_rank") == trec(relevance, scores, "P_1") == 1
    assert by_ranx(relevance, scores, "mrr") == by_ranx(relevance, scores, "precision@1") == 1
    for metric in (retrieval_reciprocal_rank, retrieval_recall, retrieval_precision):
        with pytest.raises(ValueError, match="binary"):
            metric(tensor(scores), tensor(relevance))


def test_precision_of_scores(by_ranx):
    scores = [1e9 + 1, 1e9]  # one value in float32
    assert one(mrr, [1, 0], scores) == by_ranx([1, 0], scores, "mrr") == 1
    assert average_precision_score([1, 0], scores) == 1
    assert trec([1, 0], scores, "recip_rank") == 0.5
