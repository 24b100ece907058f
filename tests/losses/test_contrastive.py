import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from contrastive_reference import dense_info_nce, dense_nce

from lit_mlfund.losses.contrastive import InfoNCELoss, NCELoss, infonce_loss, nce_loss

LOSSES = {"infonce": (InfoNCELoss, infonce_loss, dense_info_nce), "nce": (NCELoss, nce_loss, dense_nce)}
EXTRAS = {
    "plain": (),
    "ids": ("item_id",),
    "weight": ("weight",),
    "log_q": ("log_q",),
    "negatives": ("negatives",),
    "everything": ("item_id", "weight", "log_q", "negatives", "negative_id", "negative_log_q"),
}


def make_batch(batch=13, width=5, extra=4, ids=6, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, width, generator=generator, dtype=dtype)
    embeddings = {
        "query": query,
        "item": query + torch.randn(batch, width, generator=generator, dtype=dtype),
        "negatives": torch.randn(extra, width, generator=generator, dtype=dtype),
    }
    item_id = torch.randint(ids, (batch,), generator=generator)
    rest = {
        "item_id": item_id,
        "log_q": torch.rand(ids, generator=generator, dtype=dtype)[item_id].log() * 3,
        "weight": torch.rand(batch, generator=generator, dtype=dtype),
        "negative_id": torch.randint(ids, (extra,), generator=generator),
        "negative_log_q": torch.rand(extra, generator=generator, dtype=dtype).log(),
    }
    return embeddings, rest


def value_and_gradients(function, embeddings, rest, names, **options):
    """The loss and the gradients of query, item and (where used) negatives."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in embeddings.items()}
    used = {name: leaves.get(name, rest.get(name)) for name in names}
    loss = function(leaves["query"], leaves["item"], **used, **options)
    inputs = [leaf for name, leaf in leaves.items() if name != "negatives" or name in names]
    return [loss, *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_the_dense_formula(name, symmetric, extras):
    _, function, dense = LOSSES[name]
    embeddings, rest = make_batch()
    names = EXTRAS[extras]
    for temperature in (0.01, 0.3):
        options = {"symmetric": symmetric, "temperature": temperature}
        expected = value_and_gradients(dense, embeddings, rest, names, **options)
        for chunk_size in (None, 1, 4, 13, 100):
            found = value_and_gradients(function, embeddings, rest, names, chunk_size=chunk_size, **options)
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("temperature", [0.01, 0.07])
def test_float32_is_close_on_a_batch_of_many_blocks(temperature, symmetric):
    embeddings, rest = make_batch(batch=600, width=32, extra=50, ids=300, dtype=torch.float32)
    names = EXTRAS["everything"]
    options = {"symmetric": symmetric, "temperature": temperature}
    loss, *gradients = value_and_gradients(infonce_loss, embeddings, rest, names, chunk_size=32, **options)
    exact = {name: tensor.double() for name, tensor in embeddings.items()}
    expected_loss, *expected = value_and_gradients(dense_info_nce, exact, rest, names, **options)
    assert abs(loss.item() / expected_loss.item() - 1) < 1e-5
    for gradient, reference in zip(gradients, expected):
        assert (gradient - reference).norm() < 1e-5 * reference.norm()


@pytest.mark.parametrize(("name", "symmetric"), itertools.product(LOSSES, [False, True]))
def test_gradcheck(name, symmetric):
    _, function, _ = LOSSES[name]
    embeddings, rest = make_batch(batch=5, width=3, extra=2, ids=3)
    temperature = torch.tensor(0.5, dtype=torch.float64)
    inputs = [*embeddings.values(), temperature]

    def loss(query, item, negatives, temperature):
        options = {"symmetric": symmetric, "chunk_size": 2, "temperature": temperature}
        return function(query, item, negatives=negatives, **rest, **options)

    assert torch.autograd.gradcheck(loss, [tensor.requires_grad_() for tensor in inputs])


@pytest.mark.parametrize("name", LOSSES)
def test_second_derivatives_are_right_on_small_batches_and_raise_on_blocks(name):
    embeddings, rest = make_batch(batch=4, width=3, extra=2, ids=3)

    def loss(query, item, negatives, chunk_size=None):
        options = {"symmetric": True, "temperature": 0.5, "chunk_size": chunk_size}
        return LOSSES[name][1](query, item, negatives=negatives, **rest, **options)

    inputs = [tensor.requires_grad_() for tensor in embeddings.values()]
    assert torch.autograd.gradgradcheck(loss, inputs)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss(*inputs, chunk_size=2), inputs, create_graph=True)


@pytest.mark.parametrize("name", LOSSES)
def test_class_is_the_function(name):
    loss_class, function, _ = LOSSES[name]
    embeddings, rest = make_batch()
    found = loss_class(temperature=0.2, symmetric=True, chunk_size=3)(**batch_arguments(embeddings), **rest)
    assert found == function(
        **batch_arguments(embeddings), **rest, temperature=0.2, symmetric=True, chunk_size=3
    )


def batch_arguments(embeddings):
    return {
        "query": embeddings["query"],
        "item": embeddings["item"],
        "negatives": embeddings["negatives"],
    }


def test_info_nce_is_cross_entropy_of_the_diagonal():
    embeddings, _ = make_batch(dtype=torch.float32)
    query, item = F.normalize(embeddings["query"], dim=-1), F.normalize(embeddings["item"], dim=-1)
    expected = F.cross_entropy(query @ item.T / 0.07, torch.arange(13))
    torch.testing.assert_close(infonce_loss(embeddings["query"], embeddings["item"]), expected)


@pytest.mark.parametrize("symmetric", [False, True])
def test_without_negatives_info_nce_is_zero_with_zero_gradient(symmetric):
    embeddings, _ = make_batch()
    same = {"item_id": torch.full((13,), 7)}
    found = value_and_gradients(
        infonce_loss, embeddings, same, ["item_id"], symmetric=symmetric, chunk_size=4
    )
    alone = {name: tensor[:1] for name, tensor in embeddings.items()}
    found += value_and_gradients(infonce_loss, alone, {}, [], symmetric=symmetric)
    for tensor in found:
        assert torch.equal(tensor, torch.zeros_like(tensor))


def test_without_negatives_nce_keeps_the_positive_term():
    query = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(nce_loss(query, query, temperature=0.5), F.softplus(torch.tensor(-2.0)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_empty_batch_and_zero_weights_give_zero(name, symmetric):
    function = LOSSES[name][1]
    embeddings, rest = make_batch()
    empty = {key: tensor[:0] for key, tensor in embeddings.items() if key != "negatives"}
    empty["negatives"] = embeddings["negatives"]
    found = value_and_gradients(function, empty, {}, ["negatives"], symmetric=symmetric)
    rest["weight"] = torch.zeros(13)
    found += value_and_gradients(function, embeddings, rest, ["weight", "item_id"], symmetric=symmetric)
    assert all(torch.equal(tensor, torch.zeros_like(tensor)) for tensor in found)


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [*itertools.product([torch.bfloat16, torch.float32], [0, 1e-4, 1, 1e4]), (torch.float16, 1)],
)
@pytest.mark.parametrize("name", LOSSES)
def test_finite_for_every_size_and_precision(name, dtype, factor):
    embeddings, rest = make_batch(dtype=torch.float32)
    embeddings = {key: (tensor * factor).to(dtype) for key, tensor in embeddings.items()}
    rest["log_q"] = rest["log_q"] * 1e3
    for symmetric in (False, True):
        options = {"symmetric": symmetric, "temperature": 0.01}
        found = value_and_gradients(LOSSES[name][1], embeddings, rest, EXTRAS["everything"], **options)
        assert found[0].dtype == torch.float32 and found[1].dtype == dtype
        assert all(tensor.isfinite().all() for tensor in found)


def test_opposite_pairs_at_a_low_temperature_are_exact():
    query = torch.eye(4)
    loss = infonce_loss(query, -query, temperature=0.001)  # scores: -1000 on the diagonal, 0 beside it
    torch.testing.assert_close(loss, torch.tensor(1000 + math.log(3)))


def test_autocast_does_not_lower_the_precision():
    embeddings, _ = make_batch(dtype=torch.float32)
    expected = infonce_loss(embeddings["query"], embeddings["item"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert infonce_loss(embeddings["query"], embeddings["item"]) == expected


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_the_batch_does_not_matter(name):
    function = LOSSES[name][1]
    embeddings, rest = make_batch()
    names = ["item_id", "weight", "log_q"]
    found = value_and_gradients(function, embeddings, rest, names, symmetric=True)
    order = torch.randperm(13, generator=torch.Generator().manual_seed(1))
    embeddings = {key: tensor[order] if len(tensor) == 13 else tensor for key, tensor in embeddings.items()}
    rest = {key: rest[key][order] for key in names}
    permuted = value_and_gradients(function, embeddings, rest, names, symmetric=True)
    torch.testing.assert_close(permuted, [found[0], found[1][order], found[2][order]])


def test_a_constant_in_log_q_changes_nothing_and_the_correction_acts_in_one_direction():
    embeddings, rest = make_batch()
    query, item = embeddings["query"], embeddings["item"]
    corrected = infonce_loss(query, item, log_q=rest["log_q"])
    torch.testing.assert_close(infonce_loss(query, item, log_q=rest["log_q"] - 5), corrected)
    both = infonce_loss(query, item, log_q=rest["log_q"], symmetric=True)
    torch.testing.assert_close(2 * both - corrected, infonce_loss(item, query))


@pytest.mark.parametrize("name", LOSSES)
def test_learned_temperature_gets_its_gradient_and_stays_in_range(name):
    loss_class, _, dense = LOSSES[name]
    embeddings, _ = make_batch()
    loss = loss_class(temperature=0.5, learnable_temperature=True).double()
    loss(embeddings["query"], embeddings["item"]).backward()
    step = 1e-6
    low, high = (
        dense(embeddings["query"], embeddings["item"], temperature=0.5 * math.exp(sign * step))
        for sign in (-1, 1)
    )
    torch.testing.assert_close(loss.log_temperature.grad, (high - low) / (2 * step), rtol=1e-5, atol=1e-7)

    for start, edge in ((-50.0, 0.01), (50.0, 100.0)):
        with torch.no_grad():
            loss.log_temperature.fill_(start)
        assert loss.temperature.item() == pytest.approx(edge)
        loss.zero_grad()
        loss(embeddings["query"], embeddings["item"]).backward()
        assert loss.log_temperature.exp().item() == pytest.approx(edge)
        assert loss.log_temperature.grad != 0  # so that it can come back


def test_temperature_is_a_parameter_only_where_learned():
    assert list(InfoNCELoss().parameters()) == [] and InfoNCELoss().temperature == 0.07
    loss = InfoNCELoss(temperature=0.2, learnable_temperature=True)
    assert [name for name, _ in loss.named_parameters()] == ["log_temperature"]
    assert loss.temperature.item() == pytest.approx(0.2)
    assert "temperature=0.2" in repr(loss)


def test_no_gradient_is_formed_without_need():
    embeddings, rest = make_batch()
    query, item = embeddings["query"], embeddings["item"].requires_grad_()
    with torch.no_grad():
        value = infonce_loss(query, item, item_id=rest["item_id"])
    loss = infonce_loss(query, item, item_id=rest["item_id"])
    assert value == loss and not value.requires_grad
    loss.backward()
    assert query.grad is None and item.grad is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature: expected a finite number above 0, got 0"),
        ({"temperature": -1.0}, "temperature: .* got -1.0"),
        ({"temperature": math.nan}, "temperature: .* got nan"),
        ({"chunk_size": 0}, "chunk_size: .* got 0"),
        ({"temperature": 0.001, "learnable_temperature": True}, r"temperature: .*\[0.01, 100\], got 0.001"),
    ],
)
@pytest.mark.parametrize("name", LOSSES)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name][0](**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item": torch.zeros(13, 4)}, r"query and item: .* \[13, 5\] and \[13, 4\]"),
        ({"item": torch.zeros(12, 5)}, r"query and item: .* \[13, 5\] and \[12, 5\]"),
        ({"query": torch.zeros(13), "item": torch.zeros(13)}, r"query and item: .* \[13\]"),
        (
            {"query": torch.zeros(13, 5, dtype=torch.long)},
            "query: expected a floating dtype, got torch.int64",
        ),
        ({"negatives": torch.zeros(4, 6)}, r"negatives: expected shape \[N, 5\], got \[4, 6\]"),
        ({"negatives": torch.zeros(5)}, r"negatives: expected shape \[N, 5\], got \[5\]"),
        ({"item_id": torch.zeros(12, dtype=torch.long)}, r"item_id: expected shape \[13\], got \[12\]"),
        ({"item_id": torch.zeros(13)}, "item_id: expected integers, got torch.float32"),
        ({"log_q": torch.zeros(17)}, r"log_q: expected shape \[13\], got \[17\]"),
        ({"weight": torch.zeros(13, 1)}, r"weight: expected shape \[13\], one per pair, got \[13, 1\]"),
        ({"negative_id": torch.zeros(3, dtype=torch.long)}, r"negative_id: expected shape \[4\], got \[3\]"),
        ({"negative_log_q": torch.zeros(13)}, r"negative_log_q: expected shape \[4\], got \[13\]"),
        ({"negatives": None}, "negative_id and .*: expected negatives beside them"),
        ({"item_id": None}, "negative_id: expected item_id to compare it with"),
    ],
)
@pytest.mark.parametrize("name", LOSSES)
def test_bad_batches(name, change, message):
    embeddings, rest = make_batch()
    with pytest.raises(ValueError, match=message):
        LOSSES[name][0]()(**(batch_arguments(embeddings) | rest | change))
