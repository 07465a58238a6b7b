"""A site's settings are read strictly: nothing unknown is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from overread.config import Settings, read_settings
from overread.errors import OverreadError


def write(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_told_arrives(tmp_path):
    text = 'site = "Nord"\nhost = "127.0.0.1"\nport = 9000\ninbox = "in"\nworklist = "arrival"\n[prevalence]\nnodule = 0.08\n'
    settings = read_settings(write(tmp_path, text))
    assert settings == Settings("Nord", "127.0.0.1", 9000, tmp_path / "in", "arrival", {"nodule": 0.08})


def test_an_empty_file_is_the_defaults(tmp_path):
    assert read_settings(write(tmp_path, "")) == Settings()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 9000", "did you mean 'port'"),
        ("colour = 1", "'colour'"),
        ("port = 0", "port"),
        ('port = "8080"', "port"),
        ("port = true", "port"),
        ("site = 3", "site"),
        ("inbox = 3", "inbox"),
        ('worklist = "random"', "worklist"),
        ("prevalence = 3", "prevalence"),
        ("[prevalence]\nnodule = 8", "prevalence.nodule"),
        ("[prevalence]\nnodule = 0", "prevalence.nodule"),
        ("site = ", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path, text, named):
    with pytest.raises(OverreadError, match=named):
        read_settings(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(OverreadError, match="no settings file"):
        read_settings(tmp_path / "none.toml")
