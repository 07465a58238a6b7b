import dataclasses

import numpy as np
import pytest

pytest.importorskip("keras")

from overread.domain import Task
from overread.learn import export, fit, plan, predict, saliency


def cohort(task, side=16, n=96, volume=False, seed=0):
    """Images in which a bright corner says which class it is."""
    rng = np.random.default_rng(seed)
    k = len(task.labels)
    shape = (side, side, side, 1) if volume else (side, side, 1)
    x = rng.normal(size=(n, *shape)).astype("f")
    truth = np.zeros((n, k))
    which = rng.integers(0, max(k, 2), n)
    for i, c in enumerate(which):
        x[i, ..., c * 4 : c * 4 + 4, :] += 1.5
        if k == 1:
            truth[i, 0] = c
        else:
            truth[i, c] = 1
    return x, truth


def drawn(task, *, volume=False, network="residual", epochs=3, side=16):
    shape = (side,) * 3 if volume else (1, side, side)
    seen = plan.Fingerprint(96, shape, 1, "", "stored", 96 if volume else 0)
    return plan.with_epochs(plan.draw_up(task, seen, network=network, seed=0), epochs, "a test")


BINARY = Task(("x",), "binary", "x")


def score(z, t):
    return float(np.mean((z > 0) == t))


@pytest.mark.parametrize(
    ("task", "volume"),
    [
        (BINARY, False),
        (BINARY, True),
        (Task(("c=0", "c=1", "c=2"), "multiclass", "c"), False),
        (Task(("c=0", "c=1", "c=2"), "ordinal", "c"), False),
        (Task(("a", "b", "c"), "multilabel", "a,b,c"), False),
    ],
    ids=["binary", "volumes", "multiclass", "ordinal", "multilabel"],
)
def test_every_kind_of_label_is_learned_by_the_same_code(task, volume, tmp_path):
    data = cohort(task, volume=volume)
    if task.kind == "multilabel":
        data[1][::7, 1] = np.nan  # an unknown label is neither present nor absent
    fitted = fit.fit(
        drawn(task, volume=volume, epochs=12),
        training=data,
        tuning=(data[0][:32], data[1][:32]),
        score=score,
        checkpoint=tmp_path / "c.npz",
    )
    x, truth = cohort(task, volume=volume, seed=1, n=48)
    z = fit.logits(fitted.built, x)
    right = ((z[:, 0] > 0) == truth[:, 0]) if z.shape[1] == 1 else (z.argmax(1) == truth.argmax(1))
    assert right.mean() > 0.85
    assert [h["epoch"] for h in fitted.history] == list(range(1, 13))


@pytest.mark.parametrize("network", ["residual", "simple-cnn"])
def test_a_training_that_was_killed_goes_on_to_the_same_weights(network, tmp_path):
    task, side = BINARY, 64 if network == "simple-cnn" else 16
    p = drawn(task, network=network, side=side)
    x, truth = cohort(task, side=side)
    x = np.repeat(x, p.input_shape[-1], axis=-1)
    data = {"training": (x, truth), "tuning": (x[:16], truth[:16]), "score": score}
    whole = fit.fit(p, **data, checkpoint=tmp_path / "whole.npz")

    def kill(news):
        if news["epoch"] == 1 and news["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit.fit(p, **data, checkpoint=tmp_path / "killed.npz", tell=kill)
    resumed = fit.fit(p, **data, checkpoint=tmp_path / "killed.npz")
    for a, b in zip(whole.built.trained.get_weights(), resumed.built.trained.get_weights(), strict=True):
        assert (a == b).all()
    other = fit.fit(
        dataclasses.replace(p, seed=1), **data, checkpoint=tmp_path / "other.npz"
    )  # the twin: another seed differs
    assert any((a != b).any() for a, b in zip(whole.built.trained.get_weights(), other.built.trained.get_weights()))


def test_who_answers_true_at_an_epochs_end_ends_the_training_there(tmp_path):
    x, truth = cohort(BINARY)
    of = {"training": (x, truth), "tuning": (x[:8], truth[:8]), "score": score}
    told = []

    def until(news):
        told.append(news)
        return "tuning" in news and news["epoch"] == 1

    ended = fit.fit(drawn(BINARY, epochs=9), **of, checkpoint=tmp_path / "c.npz", tell=until)
    assert [h["epoch"] for h in ended.history] == [1, 2]
    truthy = fit.fit(drawn(BINARY, epochs=3), **of, checkpoint=tmp_path / "d.npz", tell=lambda news: news)
    assert len(truthy.history) == 3  # an answer that only happens to be something ends nothing


@pytest.fixture(scope="module")
def briefly(tmp_path_factory) -> tuple[fit.Fitted, np.ndarray]:
    """A network after one epoch, and its images."""
    x, truth = cohort(BINARY)
    kept = tmp_path_factory.mktemp("briefly") / "c.npz"
    of = {"training": (x, truth), "tuning": (x[:8], truth[:8]), "score": score}
    return fit.fit(drawn(BINARY, epochs=1), **of, checkpoint=kept), x


def test_a_damaged_graph_is_refused_by_the_check(briefly, tmp_path):
    import onnx
    from onnx import numpy_helper

    fitted, x = briefly
    assert export.export(fitted.built, tmp_path / "m.onnx", examples=x[:5]) < 1e-4
    graph = onnx.load(tmp_path / "m.onnx")
    tensor = max(graph.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.01, tensor.name))
    assert export.check(graph.SerializeToString(), fitted.built, x[:5]) > export.TOLERANCE


def test_the_exported_graph_gives_the_same_bytes_alone_and_in_company(briefly, tmp_path):
    fitted, x = briefly
    export.export(fitted.built, tmp_path / "m.onnx", examples=x[:5])
    session = predict.open_graph(tmp_path / "m.onnx")
    together = [z.tobytes() for z, _ in predict.run_graph(session, x)]
    alone = [next(predict.run_graph(session, [v]))[0].tobytes() for v in x]
    assert together == alone


def test_the_closed_form_gradient_of_the_articles_network_equals_tensorflows():
    import tensorflow as tf

    from overread.learn import networks

    built = networks.simple_cnn(input_shape=(64, 64, 3), outputs=1, kind="binary")
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("f")
    features = built.exported(x)[1]
    hidden, head = built.trained.get_layer("hidden"), built.trained.get_layer("head")
    with tf.GradientTape() as tape:
        tape.watch(features)
        h = tf.nn.relu(tf.reshape(features, (1, -1)) @ hidden.kernel + hidden.bias)
        logit = h @ head.kernel + head.bias
    gradient = tape.gradient(logit, features)[0].numpy()
    want = np.asarray(features)[0] @ gradient.reshape(-1, 32).mean(axis=0)
    np.testing.assert_allclose(saliency.cam(np.asarray(features)[0], export.head(built), 0), want, atol=1e-5)


def test_a_step_is_timed():
    assert 0 < fit.step_seconds(drawn(BINARY, epochs=10)) < 5
