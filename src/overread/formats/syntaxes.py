"""The compressed transfer syntaxes of DICOM: who decodes each, which are lossless, what streams each may hold."""

from __future__ import annotations

from pydicom import uid

JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)

DECODERS = {
    uid.RLELossless: "pylibjpeg-rle",
    uid.JPEGBaseline8Bit: "simplejpeg, Pillow",
    uid.JPEGExtended12Bit: "simplejpeg, Pillow (8 bits), overread.formats.jpeg12 (12 bits)",
    uid.JPEGLossless: "pydicom-jpeg-decoder, or Pillow's libjpeg-turbo with the same values",
    uid.JPEGLosslessSV1: "pydicom-jpeg-decoder, or Pillow's libjpeg-turbo with the same values",
    **dict.fromkeys(JPEG_LS, "pyjpegls"),
    **dict.fromkeys(JPEG_2000, "pylibjpeg-openjpeg"),
}
"""Who decodes each compressed transfer syntax: pixels never depend on what else happens to be installed."""

LOSSLESS = frozenset(
    (
        uid.RLELossless,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.HTJ2KLossless,
        uid.HTJ2KLosslessRPCL,
    )
)

KINDS = {
    uid.JPEGBaseline8Bit: ("jpeg",),
    uid.JPEGExtended12Bit: ("jpeg", "jpeg12"),
    uid.JPEGLossless: ("jpeg lossless",),
    uid.JPEGLosslessSV1: ("jpeg lossless",),
    **dict.fromkeys(JPEG_LS, ("jpeg-ls",)),
    **dict.fromkeys(JPEG_2000, ("jpeg 2000",)),
}
"""The kinds of stream that a transfer syntax may hold."""
