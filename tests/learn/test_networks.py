import numpy as np
import pytest

keras = pytest.importorskip("keras")

from overread.learn import networks


def article():
    """The article's network, typed in from its own lines."""
    from keras.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
    from keras.models import Sequential

    model = Sequential()
    model.add(Input((64, 64, 3)))
    model.add(Conv2D(32, (3, 3), activation="relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Flatten())
    model.add(Dense(128, activation="relu"))
    model.add(Dense(1, activation="sigmoid"))
    return model


def test_simple_cnn_is_the_articles_network_exactly():
    ours, theirs = networks.simple_cnn(input_shape=(64, 64, 3), outputs=1, kind="binary").trained, article()
    assert ours.count_params() == theirs.count_params() == 3_937_409
    skip = ("name", "build_config", "registered_name", "module")
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        assert type(a) is type(b)
        assert {k: v for k, v in a.get_config().items() if k not in skip} == {
            k: v for k, v in b.get_config().items() if k not in skip
        }


def test_simple_cnn_with_the_articles_weights_gives_the_articles_answers():
    built, theirs = networks.simple_cnn(input_shape=(64, 64, 3), outputs=1, kind="binary"), article()
    theirs.set_weights(built.trained.get_weights())
    x = np.random.default_rng(0).normal(size=(3, 64, 64, 3)).astype("f")
    want = np.asarray(theirs(x))
    np.testing.assert_allclose(np.asarray(built.trained(x)), want, atol=1e-6)
    logits = np.asarray(built.exported(x)[0])
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), want, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "grid"), [((96, 96, 1), (12, 12)), ((28, 28, 3), (7, 7)), ((16, 24, 24, 1), (2, 3, 3))]
)
def test_the_logit_is_exactly_the_mean_of_its_map_and_the_bias(shape, grid):
    built = networks.residual(input_shape=shape, outputs=2, kind="multilabel")
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("f")
    logits, features = (np.asarray(v, np.float64) for v in built.exported(x, training=False))
    kernel, bias = built.trained.get_layer("head").get_weights()
    assert features.shape[1:-1] == grid
    maps = features @ kernel
    np.testing.assert_allclose(maps.reshape(2, -1, 2).mean(axis=1) + bias, logits, atol=1e-4)


def test_feature_cells_lie_over_the_pixels_they_came_from():
    """A mirrored picture gives the mirrored map of the mirrored network: the grid has no drift to one side."""
    built = networks.residual(input_shape=(32, 32, 1), outputs=1, kind="binary")
    for layer in built.trained.layers:
        if layer.name.startswith("conv"):
            kernel = layer.get_weights()[0]
            layer.set_weights([(kernel + kernel[:, ::-1]) / 2])  # symmetric kernels
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 1)).astype("f")
    plain, mirrored = (np.asarray(built.exported(v, training=False)[1]) for v in (x, x[:, :, ::-1]))
    np.testing.assert_allclose(mirrored[:, :, ::-1], plain, atol=1e-4)


def test_flat_steps_do_not_mix_slices_and_keep_their_number():
    """What a slice shows reaches no other slice through flat steps; through the others it does (twin)."""
    for flat, spread in ((4, 1), (0, 6)):
        built = networks.residual(
            input_shape=(6, 16, 16, 1), outputs=1, kind="binary", widths=(4, 6, 8), stem_stride=2, flat=flat
        )
        x = np.random.default_rng(0).normal(size=(1, 6, 16, 16, 1)).astype("f")
        y = x.copy()
        y[:, 3] += 1
        maps, moved = (np.asarray(built.exported(v, training=False)[1]) for v in (x, y))
        assert maps.shape[1:-1] == ((6, 2, 2) if flat else (3, 8, 8))
        assert (np.abs(maps - moved).max(axis=(0, 2, 3, 4)) > 1e-6).sum() == min(spread, maps.shape[1])
