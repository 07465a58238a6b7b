"""Make codestreams.json again: the films of ``scene`` in every compressed encoding, as one codestream each.

Run by a maintainer in an environment with imagecodecs and python-gdcm (`python -m benchmarks.dicom_traps.encode`); what
it makes is kept with the project, so that the corpus is the same everywhere and needs no encoder.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import generate_frames

from benchmarks.dicom_traps import scene, writing

OUT = Path(__file__).with_name("codestreams.json")


def by_gdcm(stored: np.ndarray, syntax: int, **how: int) -> bytes:
    """Encode one frame with gdcm, and take the codestream out of the file."""
    with tempfile.TemporaryDirectory() as folder:
        plain, coded = Path(folder) / "plain.dcm", Path(folder) / "coded.dcm"
        writing.save(writing.plain("encode", writing.CAPTURE, "OT", stored, **how), plain)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(plain))
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise SystemExit(f"gdcm cannot encode syntax {syntax}")
        writer.SetFileName(str(coded))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()
        return next(generate_frames(pydicom.dcmread(coded).PixelData, number_of_frames=1))


def jpeg(values: np.ndarray, **how: object) -> bytes:
    """Encode 8-bit values with libjpeg, as Pillow has it."""
    out = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(out, "JPEG", **how)
    return out.getvalue()


def main() -> None:
    film, film8 = scene.film().astype(np.uint16), scene.film8().astype(np.uint8)
    signed, rgb = (scene.film() - 2000).astype(np.int16), scene.colour().astype(np.uint8)
    j2k, syntax = imagecodecs.jpeg2k_encode, gdcm.TransferSyntax
    made = {
        "jpeg-baseline": jpeg(film8, quality=95),
        "jpeg-ybr-422": jpeg(rgb, quality=95, subsampling="4:2:2"),
        "jpeg-rgb": imagecodecs.jpeg8_encode(rgb, level=95, colorspace="RGB", outcolorspace="RGB", subsampling="444"),
        "jpeg-extended-12": imagecodecs.jpeg8_encode(film, level=97, bitspersample=12),
        "jpeg-lossless-sv1": by_gdcm(film, syntax.JPEGLosslessProcess14_1),
        "jpeg-lossless-sv1-signed": by_gdcm(signed, syntax.JPEGLosslessProcess14_1, bits=16, sign=1),
        "jpeg-ls": by_gdcm(film, syntax.JPEGLSLossless),
        "jpeg-ls-near-2": imagecodecs.jpegls_encode(film, level=2),
        "j2k": j2k(film, codecformat="j2k", reversible=True, level=0, bitspersample=12),
        "j2k-signed": j2k(signed, codecformat="j2k", reversible=True, level=0),
        "j2k-lossy": j2k(film8, codecformat="j2k", reversible=False, level=60),
        "j2k-rgb": j2k(rgb, codecformat="j2k", reversible=True, level=0, mct=True),
        "htj2k": imagecodecs.htj2k_encode(film, reversible=True),
        "htj2k-signed": imagecodecs.htj2k_encode(signed, reversible=True),
    }
    told = {
        "made by": f"imagecodecs {version('imagecodecs')}, gdcm {gdcm.Version.GetVersion()}, Pillow {Image.__version__}"
    }
    told |= {name: base64.b64encode(stream).decode() for name, stream in made.items()}
    OUT.write_text(json.dumps(told, indent=0) + "\n")
    print({name: len(stream) for name, stream in made.items()})


if __name__ == "__main__":
    main()
