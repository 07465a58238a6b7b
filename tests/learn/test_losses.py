import numpy as np
import pytest

keras = pytest.importorskip("keras")

from overread.learn.losses import FromLogits, MaskedCrossentropy, targets


def test_without_smoothing_and_weights_it_is_keras_own_cross_entropy():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(20, 3)).astype("f"), (rng.random((20, 3)) < 0.5).astype("f")
    ours = float(FromLogits("multilabel", smoothing=0.0)(y, z))
    assert ours == pytest.approx(float(keras.losses.BinaryCrossentropy(from_logits=True)(y, z)), rel=1e-5)
    one = np.eye(3, dtype="f")[rng.integers(0, 3, 20)]
    ours = float(FromLogits("multiclass", smoothing=0.1)(one, z))
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    assert ours == pytest.approx(float(theirs(one, z)), rel=1e-5)


def test_an_unknown_label_costs_nothing_and_moves_nothing():
    y = targets("multilabel", np.array([[1.0, np.nan], [0.0, np.nan]]))
    loss = FromLogits("multilabel")
    a = float(loss(y, np.array([[2.0, -9.0], [-1.0, 7.0]], "f")))
    b = float(loss(y, np.array([[2.0, 3.0], [-1.0, 0.0]], "f")))
    assert a == b
    known = float(
        loss(targets("multilabel", np.array([[1.0, 1.0], [0.0, 0.0]])), np.array([[2.0, -9.0], [-1.0, 7.0]], "f"))
    )
    assert known > a  # the twin: when it is known it does cost


def test_the_masked_article_loss_is_keras_own_where_all_is_known():
    rng = np.random.default_rng(0)
    p, y = rng.random((30, 2)).astype("f"), (rng.random((30, 2)) < 0.5).astype("f")
    assert float(MaskedCrossentropy()(y, p)) == pytest.approx(float(keras.losses.BinaryCrossentropy()(y, p)), rel=1e-4)


def test_a_near_miss_in_grade_costs_less_than_a_far_one():
    y = targets("ordinal", np.eye(5))[:1]
    near, far = np.full((1, 5), -3, "f"), np.full((1, 5), -3, "f")
    near[0, 1], far[0, 4] = 3, 3
    loss = FromLogits("ordinal")
    assert float(loss(y, near)) < float(loss(y, far))
