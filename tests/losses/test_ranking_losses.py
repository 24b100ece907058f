import math

import pytest
import ranking_reference as reference
import torch
from ranking_cases import KINDS, LOSSES, lists, value_and_grad

from lit_mlfund import losses
from lit_mlfund.losses import document_pairs

every_loss = pytest.mark.parametrize("name", LOSSES)


@every_loss
@pytest.mark.parametrize("kind", KINDS)
def test_value_and_gradient_are_the_loops(name, kind, monkeypatch):
    function, one, _, options = LOSSES[name]
    scores, relevance, mask = lists(kind)
    weight = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0])
    for w in (None, weight):
        for num_pairs in (2**16, 20):  # one block; many, of several queries or of single rows
            monkeypatch.setattr(document_pairs, "_CPU_BLOCK", num_pairs)
            loss, grad = value_and_grad(function, scores, relevance, mask, w, **options)
            want_loss, want_grad = reference.over_queries(one, scores, relevance, mask, w, **options)
            assert loss.item() == pytest.approx(want_loss, rel=1e-9, abs=1e-12)
            torch.testing.assert_close(grad, want_grad, rtol=1e-9, atol=1e-12)


@every_loss
@pytest.mark.parametrize("kind", ["padded", "extreme"])
def test_single_precision_is_close_to_double(name, kind):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists(kind)
    want, want_grad = value_and_grad(function, scores, relevance, mask, **options)
    loss, grad = value_and_grad(function, scores.float(), relevance, mask, **options)
    torch.testing.assert_close(loss, want.float(), rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(grad, want_grad.float(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["hinge", "listmle"])
def test_large_scores_nearly_cancel_and_single_precision_holds(name):
    function, _, _, options = LOSSES[name]
    scores, relevance = torch.arange(400.0).flip(0)[None] * 1.5 + 1e5, torch.arange(400)[None] // 40
    want, want_grad = value_and_grad(function, scores.double(), relevance, **options)
    loss, grad = value_and_grad(function, scores, relevance, **options)
    torch.testing.assert_close(loss, want.float(), rtol=2e-7, atol=0)
    torch.testing.assert_close(grad, want_grad.float(), rtol=1e-6, atol=1e-12)


def test_soft_ranks_that_hardly_move_have_an_exact_gradient():
    scores, relevance = torch.tensor([[1.6, 0.0]]), torch.tensor([[0, 1]])
    _, want_grad = value_and_grad(losses.approx_ndcg_loss, scores.double(), relevance)
    _, grad = value_and_grad(losses.approx_ndcg_loss, scores, relevance)
    torch.testing.assert_close(grad, want_grad.float(), rtol=1e-5, atol=0)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name, dtype):
    function, _, _, options = LOSSES[name]
    for kind in ("padded", "extreme", "degenerate"):
        scores, relevance, mask = lists(kind, dtype)
        loss, grad = value_and_grad(function, scores, relevance, mask, **options)
        want, want_grad = value_and_grad(function, scores.float(), relevance, mask, **options)
        assert (loss.dtype, grad.dtype) == (torch.float32, dtype)
        assert torch.equal(loss, want) and torch.equal(grad, want_grad.to(dtype))
        assert loss.isfinite() and grad.isfinite().all()


@every_loss
def test_autocast_changes_nothing(name):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists("padded", torch.float32)
    want, want_grad = value_and_grad(function, scores, relevance, mask, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, grad = value_and_grad(function, scores, relevance, mask, **options)
    assert torch.equal(loss, want) and torch.equal(grad, want_grad)


@every_loss
@pytest.mark.parametrize("kind", ["padded", "half degenerate", "real"])
def test_gradcheck(name, kind):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists(kind)
    weight = torch.tensor([1.0, 0.5, 2.0, 0.0, 3.0])
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: function(s, relevance, mask, weight, **options), scores)


@every_loss
def test_grades_that_overflow_a_power_of_two(name):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists("huge grades", torch.float32)
    loss, grad = value_and_grad(function, scores, relevance, mask, **options)
    assert loss.isfinite() and grad.isfinite().all()


@every_loss
def test_permuting_documents_permutes_gradients(name):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists("padded")
    loss, grad = value_and_grad(function, scores, relevance, mask, **options)
    for seed in range(3):
        order = torch.rand(scores.shape, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
        moved = (t.gather(1, order) for t in (scores, relevance, mask))
        moved_loss, moved_grad = value_and_grad(function, *moved, **options)
        torch.testing.assert_close(moved_loss, loss)
        torch.testing.assert_close(moved_grad, grad.gather(1, order))


@every_loss
def test_padding_is_never_read(name):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists("padded")
    loss, grad = value_and_grad(function, scores, relevance, mask, **options)
    wide = [torch.nn.functional.pad(t, (2, 30)) for t in (scores, relevance.double(), mask)]
    for rubbish in (math.nan, math.inf, -1.0, 1e9):
        dirty_scores, dirty_relevance = (t.masked_fill(~wide[2], rubbish) for t in wide[:2])
        wide_loss, wide_grad = value_and_grad(function, dirty_scores, dirty_relevance, wide[2], **options)
        torch.testing.assert_close(wide_loss, loss)
        torch.testing.assert_close(wide_grad[:, 2:13], grad)
        assert not wide_grad[~wide[2]].any()


@every_loss
@pytest.mark.parametrize("kind", ["padded", "tied", "extreme"])
def test_only_score_differences_count(name, kind):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists(kind)
    loss, grad = value_and_grad(function, scores, relevance, mask, **options)
    shifted, shifted_grad = value_and_grad(function, scores + 64.0, relevance, mask, **options)
    torch.testing.assert_close(shifted, loss)
    torch.testing.assert_close(shifted_grad, grad)
    assert grad.sum(1).abs().max() < 1e-10


@every_loss
def test_nothing_to_order_is_zero_with_zero_gradient(name):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists("degenerate", torch.float32)
    for s, r, m in (
        (scores, relevance, mask),
        (scores, relevance, torch.zeros_like(mask)),
        (scores[:0], relevance[:0], None),
        (scores[:, :0], relevance[:, :0], None),
        (scores[:, :1], relevance[:, :1], None),
        (scores[:0, :0], relevance[:0, :0], mask[:0, :0]),
    ):
        for weight in (None, torch.ones(len(s)), torch.zeros(len(s))):
            loss, grad = value_and_grad(function, s, r, m, weight, **options)
            assert loss.item() == 0 and loss.shape == ()
            assert grad.shape == s.shape and not grad.any()


@every_loss
def test_a_weight_is_a_repetition(name):
    function, _, _, options = LOSSES[name]
    scores, relevance, mask = lists("half degenerate")
    weight = torch.tensor([1, 3, 0, 5, 2])
    repeated = (t.repeat_interleave(weight, dim=0) for t in (scores, relevance, mask))
    torch.testing.assert_close(
        function(scores, relevance, mask, weight, **options), function(*repeated, **options)
    )


@every_loss
def test_module_is_its_function(name):
    function, _, module, options = LOSSES[name]
    scores, relevance, mask = lists("padded")
    loss = module(**options)
    assert loss.tasks == ("ranking",)
    assert all(f"{key}={value}" in repr(loss) for key, value in options.items())
    weight = torch.arange(5.0)
    assert loss(scores, relevance, mask=mask, weight=weight) == function(
        scores, relevance, mask, weight, **options
    )
    with torch.no_grad():
        assert loss(scores, relevance) == function(scores.requires_grad_(), relevance, **options)


def test_equal_scores_rank_in_the_order_given():
    scores, relevance = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([[0, 1, 2]])
    ideal = 3 + 1 / math.log2(3)
    swaps = 1 * (1 - 1 / math.log2(3)) + 3 * (1 - 1 / 2) + 2 * (1 / math.log2(3) - 1 / 2)
    loss = losses.lambdarank_loss(scores, relevance)
    assert loss.item() == pytest.approx(math.log(2) * swaps / ideal)


@pytest.mark.parametrize("k", [1, 3, 10, 1000])
def test_truncated_lambdas_are_lightgbms(k):
    """A stump under a huge L2 penalty has −(sum of its documents' gradients) / penalty in a leaf."""
    lightgbm = pytest.importorskip("lightgbm")
    g = torch.Generator().manual_seed(k)
    sizes, penalty, sigma = [7, 1, 15], 1e5, 1.3
    scores = torch.randn(sum(sizes), generator=g, dtype=torch.float64)
    scores[5] = scores[2]  # equal scores, in one query
    relevance = torch.randint(0, 5, (sum(sizes),), generator=g)
    options = {
        "objective": "lambdarank",
        "sigmoid": sigma,
        "lambdarank_truncation_level": k,
        "lambdarank_norm": False,
        "learning_rate": 1.0,
        "num_leaves": 2,
        "lambda_l2": penalty,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "min_sum_hessian_in_leaf": 0.0,
        "num_threads": 1,
        "verbose": -1,
    }
    subsets = torch.rand(30, len(scores), generator=g, dtype=torch.float64).round()
    theirs = []
    for subset in subsets.numpy():
        data = lightgbm.Dataset(subset[:, None], relevance.numpy(), group=sizes, init_score=scores.numpy())
        theirs.append(-penalty * lightgbm.train(options, data, num_boost_round=1).predict([[1.0]])[0])
    padded = [torch.nn.utils.rnn.pad_sequence(t.split(sizes), batch_first=True) for t in (scores, relevance)]
    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    loss = losses.lambdarank_loss(padded[0].requires_grad_(), padded[1], mask, sigma=sigma, k=k)
    (grad,) = torch.autograd.grad(loss, padded[0])
    # LightGBM sums over queries, two of these three have a pair; its sigmoid is a table.
    ours = subsets @ (2 * grad[mask])
    torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=1e-3, atol=1e-4)


def test_listmle_is_the_likelihood_of_the_order():
    scores, relevance = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[1, 2, 0]])
    e = scores[0].exp()
    likelihood = e[1] / e.sum() * e[0] / (e[0] + e[2])
    torch.testing.assert_close(losses.listmle_loss(scores, relevance), -likelihood.log())


def test_approx_ndcg_tends_to_ndcg():
    metrics = pytest.importorskip("sklearn.metrics")
    scores, relevance, _ = lists("whole")
    want = 1 - metrics.ndcg_score(2.0 ** relevance.numpy() - 1, scores.numpy())
    assert losses.approx_ndcg_loss(scores, relevance, temperature=1e-4).item() == pytest.approx(
        want, abs=1e-6
    )
