import numpy as np
import pytest

pytest.importorskip("keras")

import tensorflow as tf

from overread.domain import Task
from overread.learn import fit, networks, plan, precision, rounded

BINARY = Task(("x",), "binary", "x")


def residual(shape=(16, 16, 1)):
    return networks.residual(input_shape=shape, outputs=1, kind="binary", widths=(8, 16))


def by_definition(x, gamma, beta, short, *, relu, held=False):
    """Batch normalisation as its authors write it; ``held``: the statistics taken for constants, which they are not."""
    mean, variance = tf.nn.moments(x, [0])
    if held:
        mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
    out = (x - mean) / tf.sqrt(variance + 1e-5) * gamma + beta + short
    return tf.nn.relu(out) if relu else out


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("added", [True, False])
def test_the_closed_form_of_the_slopes_is_what_differentiation_finds(relu, added):
    rng = np.random.default_rng(0)
    x, short, slope = (tf.constant(rng.normal(size=(48, 6)).astype("f")) for _ in range(3))
    gamma, beta = (tf.constant(rng.normal(size=6).astype("f")) for _ in range(2))
    short = short if added else tf.zeros((48, 6))

    def slopes(**how):
        with tf.GradientTape() as tape:
            tape.watch(given := [x, gamma, beta, short])
            out = by_definition(*given, relu=relu, **how)
        return out, tape.gradient(out, given, output_gradients=slope)

    rows, more = tf.reshape(x, (12, 24)), tf.reshape(short, (12, 24)) if added else tf.zeros(())
    how = {"epsilon": 1e-5, "relu": relu}
    out, mean, variance = rounded._forward(rows, gamma, beta, more, **how)
    found = rounded._backward(rows, out, tf.reshape(slope, (12, 24)), gamma, mean, variance, more, **how)
    value, wanted = slopes()
    np.testing.assert_allclose(np.reshape(out, (48, 6)), value, atol=2e-5)
    for have, want in zip(found[: 4 if added else 3], wanted, strict=False):
        np.testing.assert_allclose(np.reshape(have, want.shape), want, atol=1e-4)
    wrong = slopes(held=True)[1][0]  # the twin: slopes that forget the statistics are told apart
    assert np.abs(np.reshape(found[0], (48, 6)) - wrong).max() > 1e-2


@pytest.mark.parametrize("shape", [(16, 16, 1), (8, 8, 8, 1)])
def test_the_same_network_is_computed_but_for_sixteen_bits(shape):
    network = residual(shape).trained
    network.get_layer("dropout").rate = 0.0
    x = np.random.default_rng(1).normal(size=(8, *shape)).astype("f")
    before = [w.copy() for w in network.get_weights()]
    want = np.asarray(network(x, training=True))
    moved = network.get_weights()
    network.set_weights(before)
    have = np.asarray(rounded.Rounded(network)(x, training=True))
    assert 0 < np.abs(have - want).max() < 0.05 * np.abs(want).max() + 0.02
    for a, b, old in zip(network.get_weights(), moved, before, strict=True):
        assert np.abs(a - b).max() <= 0.05 * np.abs(b - old).max() + 1e-5  # the averages moved as they do in 32 bits
    assert any((b != old).any() for b, old in zip(moved, before, strict=True))


def test_an_answer_is_computed_in_32_bits():
    network = residual().trained
    x = np.random.default_rng(1).normal(size=(4, 16, 16, 1)).astype("f")
    step = rounded.Rounded(network)
    assert (np.asarray(step(x)) == np.asarray(network(x))).all()
    assert (np.asarray(step(x, training=True)) != np.asarray(network(x, training=True))).any()


def test_the_same_plan_gives_the_same_weights_and_goes_on_to_them(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "refuse", lambda: None)  # the sums are the same anywhere, only slower
    seen = plan.Fingerprint(96, (1, 16, 16), 1, "", "stored", 0)
    drawn = plan.with_epochs(plan.draw_up(BINARY, seen, network="residual", seed=0), 3, "a test")
    half = plan.changed(drawn, "optimiser", "a test", precision="bfloat16")
    rng = np.random.default_rng(0)
    truth = (rng.random((96, 1)) < 0.5).astype("f")
    x = (rng.normal(size=(96, 16, 16, 1)) + truth[:, :, None, None]).astype("f")
    of = {"training": (x, truth), "tuning": (x[:16], truth[:16]), "score": lambda z, t: float(np.mean((z > 0) == t))}
    whole = fit.fit(half, **of, checkpoint=tmp_path / "whole.npz")

    def kill(news):
        if news["epoch"] == 1 and news["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.fit(half, **of, checkpoint=tmp_path / "killed.npz", tell=kill)
    resumed = fit.fit(half, **of, checkpoint=tmp_path / "killed.npz")
    plain = fit.fit(drawn, **of, checkpoint=tmp_path / "plain.npz")
    pairs = [(a.built.trained.get_weights(), whole.built.trained.get_weights()) for a in (resumed, plain)]
    assert all((a == b).all() for a, b in zip(*pairs[0], strict=True))
    assert any((a != b).any() for a, b in zip(*pairs[1], strict=True))  # the twin: float32 gives others
