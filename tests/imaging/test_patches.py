import numpy as np
import pytest

from overread.imaging import patches


@pytest.mark.parametrize("shape", [(28, 28), (16, 16, 16)])
def test_descriptions_are_by_image_and_the_same_in_any_company(shape):
    images = np.random.default_rng(0).random((70, *shape)).astype("f")
    bank = patches.filters(images, rng=np.random.default_rng(0))
    together = patches.described(images, bank)
    nd = len(shape)
    assert together.shape == (70, patches.CELLS[nd] ** nd * patches.FILTERS[nd])
    np.testing.assert_allclose(patches.described(images[65:66], bank), together[65:66], rtol=1e-5)


def test_a_patch_answers_where_it_came_from():
    """A filter that is a patch of the image answers most strongly in the cell it lies in."""
    images = np.random.default_rng(0).random((1, 28, 28)).astype("f")
    patch = images[0, 22:27, 1:6].reshape(1, -1)
    patch = patch - patch.mean()
    cells = patches.described(images, patch / np.linalg.norm(patch)).reshape(4, 4)
    assert np.unravel_index(cells.argmax(), cells.shape) == (3, 0)


def test_an_image_without_contrast_is_described_by_nothing():
    flat = np.full((2, 28, 28), 0.5, "f")
    assert not patches.described(
        flat, patches.filters(np.random.default_rng(0).random((2, 28, 28)), rng=np.random.default_rng(0))
    ).any()
