"""One door, one recipe: what the network saw in training is what it sees in the clinic, to the bit."""

from dataclasses import replace

import numpy as np
import pytest

from overread.domain import Step
from overread.formats import door
from overread.imaging import preprocess
from overread.learn.batches import preprocess_once
from overread.learn.predict import Model
from overread.store.archive import Archive
from overread.store.objects import content_hash


def both(run, archive, pictures, tmp_path, recipe):
    """Return network inputs by image hash: as training cached them, and as the clinic makes them from the files."""
    with Archive.open(archive) as store:
        hashes = [h for s in store.studies() for h in s.images]
        cached = preprocess_once(
            (store.image(h) for h in hashes),
            recipe=Model.load(run).recipe,
            count=len(hashes),
            into=tmp_path / "cache.npy",
        )
        training = dict(zip(hashes, np.array(cached), strict=True))
    found = [f for f in door.scan(pictures) if isinstance(f, door.Found)]
    clinic = {content_hash(f.image): preprocess.apply(recipe, f.image) for f in found}
    return training, clinic


def test_the_same_file_gives_the_same_network_input(run, archive, pictures, tmp_path):
    training, clinic = both(run, archive, pictures, tmp_path, Model.load(run).recipe)
    assert set(training) == set(clinic)
    assert len(clinic) == 96
    for name, x in clinic.items():
        assert (training[name] == x).all()


def test_the_check_can_fail(run, archive, pictures, tmp_path):
    recipe = Model.load(run).recipe
    other = replace(recipe, steps=(*recipe.steps, Step("standardise", {"by": "given", "mean": 0.0, "std": 1.001})))
    training, clinic = both(run, archive, pictures, tmp_path, other)
    assert any((training[name] != x).any() for name, x in clinic.items())


def test_sixteen_bits_keep_their_values_from_file_to_network(tmp_path):
    """A 16-bit PNG is not clipped to 255 (a peer does so without a word)."""
    from PIL import Image as Pillow

    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Pillow.fromarray(values).save(tmp_path / "deep.png")
    (image,) = door.read(tmp_path / "deep.png")
    assert (image.voxels[0] == values).all()
    assert image.full_range == (0, 65535)
    with pytest.raises(AssertionError):
        assert (image.voxels[0].clip(0, 255) == values).all()
