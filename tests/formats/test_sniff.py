"""What a file is, is told by its bytes."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overread.formats.sniff import HEAD, READABLE, sniff


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"", "an empty file"),
        (b"a,b\n1,2\n", "a text file"),
        ("Größe;Jä\n".encode(), "a text file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"<?xml version='1.0'?>", "an XML file"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04rest", "zip"),
        (b"\x93NUMPY\x01\x00", "a bare NumPy array"),
        (gzip.compress(b"hello there", mtime=0), "a gzip file that holds a text file"),
        (bytes(range(256)), "bytes of no known image format"),
        (b"BM what a nice day it is today", "a text file"),
        (b"II*\0" + bytes(124) + b"DICM", "dicom"),
        (b"MZ" + bytes(126) + b"DICM", "dicom"),
        (b"\x08\0\x05\0CS\n\0ISO_IR 100", "dicom"),
        (b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100", "dicom"),
    ],
)
def test_kinds(head: bytes, said: str) -> None:
    assert sniff(head) == said


@given(st.binary(max_size=HEAD))
def test_any_bytes_have_an_answer(head: bytes) -> None:
    said = sniff(head)
    assert said in READABLE or " " in said


def test_real_files_are_what_they_are(shared_data: Path) -> None:
    def kinds(folder: str, pattern: str) -> set[str]:
        return {sniff(p.read_bytes()[:HEAD]) for p in (shared_data / folder).rglob(pattern)}

    assert kinds("dicom_series", "*.dcm") == {"dicom"}
    assert kinds("dicom_series", "*.nii.gz") == {"nifti"}
    assert kinds("dicom_codecs", "*_*") == {"dicom"}
    assert kinds("medmnist", "*.npz") == {"zip"}
    assert kinds("brain_mri", "*.*") == {"jpeg", "png"}


def test_an_analyze_header_is_told_apart() -> None:
    assert "Analyze" in sniff((348).to_bytes(4, "little") + bytes(344))
    assert "Analyze" in sniff((348).to_bytes(4, "big") + bytes(344))
