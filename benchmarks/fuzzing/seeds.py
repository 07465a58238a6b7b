"""Small honest files of every kind that overread is offered, with marks in every field for identity."""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
import tempfile
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image as Picture
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence

MARKS = ("QXMARK", "31415926535", "19610203")
"""A name, a number within UIDs, a date of birth: no refusal, note or clean copy may hold one."""

_LARGEST_REAL = 120_000  # bytes; larger real files would make the run slow without reaching other code
CT, DX, US = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.3.1",
)
ENHANCED_CT, SR = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.88.11"


@dataclass(frozen=True)
class Seed:
    """One honest file, and what lies beside it in its folder (the files that a DICOMDIR names)."""

    kind: str
    name: str
    raw: bytes
    beside: dict[str, bytes] = field(default_factory=dict)


def seeds(*, real: bool = True) -> list[Seed]:
    """Return every seed, always in the same order.

    Parameters
    ----------
    real : bool
        With the small files that pydicom brings, where it is installed with them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = [*_dicoms(), *_niftis(), *_pictures(), *_tables()]
        made += _packed(made)
        return made + (_real() if real else [])


# -- DICOM --------------------------------------------------------------------------------------------------------


def _grey(side: int = 16, bits: int = 12, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**bits, (side, side)).astype(np.uint16 if bits > 8 else np.uint8)


def _header(sop: str, modality: str, number: int = 1) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = sop, f"1.2.{MARKS[1]}.3.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"1.2.{MARKS[1]}.1", f"1.2.{MARKS[1]}.2"
    ds.FrameOfReferenceUID = f"1.2.{MARKS[1]}.4"
    ds.PatientName, ds.PatientID, ds.AccessionNumber = f"{MARKS[0]}^ANN", f"{MARKS[0]}7", f"{MARKS[0]}8"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = MARKS[2], "F", "047Y"
    ds.InstitutionName, ds.ReferringPhysicianName = f"{MARKS[0]} HOSPITAL", f"{MARKS[0]}^REF"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = "20240102"
    ds.StudyTime = ds.ContentTime = "101112"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "ACME", "Scan 1"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber, ds.SeriesNumber, ds.BurnedInAnnotation = number, 1, "NO"
    ds.ReferencedStudySequence = Sequence([_item(ReferencedSOPClassUID=sop, ReferencedSOPInstanceUID="1.2.3")])
    return ds


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _with_pixels(ds: Dataset, values: np.ndarray, *, photometric: str = "MONOCHROME2", bits: int = 12) -> Dataset:
    colour = values.shape[-1] == 3
    ds.Rows, ds.Columns = values.shape[-3:-1] if colour else values.shape[-2:]
    if values.ndim - colour > 2:
        ds.NumberOfFrames = len(values)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 3 if colour else 1, photometric
    if colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = values.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(values.dtype.kind == "i")
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW" if values.dtype.itemsize > 1 else "OB"
    return ds


def _ct(number: int = 1) -> Dataset:
    ds = _with_pixels(_header(CT, "CT", number), _grey(seed=number))
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-8, -8, 2.5 * number], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.7], 2.5
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.WindowCenter, ds.WindowWidth = [40, -600], [400, 1500]
    return ds


def _dx() -> Dataset:
    ds = _with_pixels(_header(DX, "DX"), _grey(seed=9), photometric="MONOCHROME1")
    ds.ImagerPixelSpacing, ds.ViewPosition = [0.14, 0.14], "PA"
    ds.VOILUTSequence = Sequence([_item(LUTDescriptor=[4, 0, 8], LUTData=bytes([0, 80, 160, 255]))])
    return ds


def _ultrasound(frames: int = 2) -> Dataset:
    colour = np.random.default_rng(3).integers(0, 256, (frames, 16, 16, 3), np.uint8)
    return _with_pixels(_header(US, "US"), colour, photometric="RGB", bits=8)


def _enhanced(frames: int = 3) -> Dataset:
    ds = _with_pixels(_header(ENHANCED_CT, "CT"), np.stack([_grey(seed=i) for i in range(frames)]))
    rescale = _item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")
    ds.SharedFunctionalGroupsSequence = Sequence([
        _item(
            PlaneOrientationSequence=Sequence([_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
            PixelMeasuresSequence=Sequence([_item(PixelSpacing=[0.7, 0.7], SliceThickness=2.5)]),
            PixelValueTransformationSequence=Sequence([rescale]),
        )
    ])  # fmt: skip
    ds.PerFrameFunctionalGroupsSequence = Sequence([
        _item(PlanePositionSequence=Sequence([_item(ImagePositionPatient=[0, 0, 2.5 * i])])) for i in range(frames)
    ])  # fmt: skip
    return ds


def _palette() -> Dataset:
    ds = _with_pixels(_header(US, "US"), _grey(bits=8), photometric="PALETTE COLOR", bits=8)
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", np.arange(256, dtype="<u2").tobytes())
    return ds


def _float() -> Dataset:
    ds = _with_pixels(_header(CT, "PT"), _grey())
    del ds.PixelData, ds.PixelRepresentation, ds.BitsStored, ds.HighBit
    ds.BitsAllocated, ds.FloatPixelData = 32, np.linspace(0, 9, 256, dtype="<f4").tobytes()
    ds.Units, ds.DecayCorrection = "BQML", "START"
    return ds


def _saved(ds: Dataset, syntax: uid.UID = uid.ExplicitVRLittleEndian, *, preamble: bool = True) -> bytes:
    out = io.BytesIO()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    if preamble:
        pydicom.dcmwrite(out, ds, enforce_file_format=True)
        return out.getvalue()
    pydicom.dcmwrite(out, ds, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    return out.getvalue()[out.getvalue().index(b"\x08\0\x05\0") :]


def _jpeg(ds: Dataset, mode: str) -> bytes:
    """The picture as JPEG baseline, by Pillow."""
    shape = (16, 16, 3) if mode == "RGB" else (16, 16)
    out = io.BytesIO()
    Picture.fromarray(np.random.default_rng(5).integers(0, 256, shape, np.uint8), mode).save(out, "JPEG", quality=90)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PhotometricInterpretation = "YBR_FULL_422" if mode == "RGB" else "MONOCHROME2"
    ds.PixelData = encapsulate([out.getvalue()])
    ds["PixelData"].VR = "OB"
    return _saved(ds, uid.JPEGBaseline8Bit)


def _compressed(ds: Dataset, syntax: uid.UID) -> bytes:
    """The picture in a syntax that pydicom can write itself."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.compress(syntax, generate_instance_uid=False)
    return _saved(ds, syntax)


def _by_gdcm(ds: Dataset, name: str) -> bytes:
    """The picture in a syntax that only GDCM writes."""
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        there, here = Path(folder) / "a.dcm", Path(folder) / "b.dcm"
        there.write_bytes(_saved(ds))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(there))
        reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError(f"GDCM does not write {name}")
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(here))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()
        return here.read_bytes()


def _dicomdir() -> Seed:
    """A DICOMDIR with three slices beside it, as a disc for a patient holds them."""
    files = FileSet()
    for number in (1, 2, 3):
        slice_ = _ct(number)
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        slice_.file_meta.MediaStorageSOPClassUID = slice_.SOPClassUID
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
        slice_.StudyID = "1"
        files.add(slice_)
    with tempfile.TemporaryDirectory() as folder:
        files.write(folder)
        there = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}
    return Seed("dicomdir", "DICOMDIR", there.pop("DICOMDIR"), there)


def _dicoms() -> list[Seed]:
    made = {
        "ct-explicit": _saved(_ct()),
        "ct-implicit": _saved(_ct(), uid.ImplicitVRLittleEndian),
        "ct-big-endian": _saved(_ct(), uid.ExplicitVRBigEndian),
        "ct-deflated": _saved(_ct(), uid.DeflatedExplicitVRLittleEndian),
        "ct-rle": _compressed(_ct(), uid.RLELossless),
        "ct-jpeg-ls": _by_gdcm(_ct(), "JPEGLSLossless"),
        "ct-jpeg-2000": _by_gdcm(_ct(), "JPEG2000Lossless"),
        "ct-jpeg-extended": _by_gdcm(_ct(), "JPEGExtendedProcess2_4"),
        "ct-jpeg-lossless": _by_gdcm(_ct(), "JPEGLosslessProcess14_1"),
        "dx": _saved(_dx()),
        "dx-jpeg": _jpeg(_dx(), "L"),
        "us": _saved(_ultrasound()),
        "us-rle": _compressed(_ultrasound(), uid.RLELossless),
        "us-jpeg": _jpeg(_ultrasound(1), "RGB"),
        "palette": _saved(_palette()),
        "enhanced": _saved(_enhanced()),
        "enhanced-jpeg-ls": _by_gdcm(_enhanced(), "JPEGLSLossless"),
        "float": _saved(_float()),
        "report": _saved(_header(SR, "SR")),
        "bare-explicit": _saved(_ct(), preamble=False),
        "bare-implicit": _saved(_ct(), uid.ImplicitVRLittleEndian, preamble=False),
    }
    return [*(Seed("dicom", f"{name}.dcm", raw) for name, raw in made.items()), _dicomdir()]


# -- the others ---------------------------------------------------------------------------------------------------


def _niftis() -> list[Seed]:
    grid = np.random.default_rng(2).integers(-1000, 1000, (10, 12, 9)).astype(np.int16)
    affine = np.array([[-1, 0.1, 0, 5], [0, 1.2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    rgb = np.zeros((9, 9, 9), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    kinds = {
        "int16": nib.Nifti1Image(grid, affine),
        "float": nib.Nifti1Image(grid.astype(np.float32) / 7, affine),
        "rgb": nib.Nifti1Image(rgb, affine),
        "two": nib.Nifti2Image(grid, affine),
    }
    kinds["int16"].header.set_slope_inter(2, -1)
    kinds["float"].set_qform(affine, 1)
    kinds["int16"].header["descrip"] = MARKS[0].encode()
    plain = {name: image.to_bytes() for name, image in kinds.items()}
    return [
        *(Seed("nifti", f"{name}.nii", raw) for name, raw in plain.items()),
        *(Seed("nifti.gz", f"{name}.nii.gz", gzip.compress(raw, 6, mtime=0)) for name, raw in plain.items()),
    ]


def _picture(kind: str, values: np.ndarray, **how: object) -> bytes:
    out = io.BytesIO()
    Picture.fromarray(values).save(out, kind, **how)
    return out.getvalue()


def _pictures() -> list[Seed]:
    grey, deep, rgb = _grey(bits=8), _grey(bits=16), np.random.default_rng(4).integers(0, 256, (16, 16, 3), np.uint8)
    alpha = np.dstack([rgb, grey])
    turned = Picture.Exif()
    turned[0x0112], turned[0x010E] = 6, MARKS[0]
    made = [
        *(("png", _picture("PNG", v)) for v in (grey, deep, rgb, alpha, grey > 99)),
        ("png", _picture("PNG", np.asarray(Picture.fromarray(rgb).quantize(16)))),
        ("jpeg", _picture("JPEG", grey, quality=80)),
        ("jpeg", _picture("JPEG", rgb, progressive=True, exif=turned)),
        ("jpeg", _picture("JPEG", np.asarray(Picture.fromarray(rgb)), subsampling=2, comment=MARKS[0])),
        *(("tiff", _picture("TIFF", v)) for v in (grey, deep, rgb, alpha, grey.astype(np.float32))),
        *(("tiff", _picture("TIFF", grey, compression=c)) for c in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
        ("tiff", _picture("TIFF", grey, save_all=True, append_images=[Picture.fromarray(grey)])),
        *(("bmp", _picture("BMP", v)) for v in (grey, rgb, grey > 99)),
        ("gif", _picture("GIF", grey)),
        ("gif", _picture("GIF", grey, save_all=True, append_images=[Picture.fromarray(255 - grey)])),
        ("webp", _picture("WEBP", rgb, lossless=True)),
        ("webp", _picture("WEBP", alpha, quality=70)),
    ]
    return [Seed(kind, f"{kind}-{n}.{kind}", raw) for n, (kind, raw) in enumerate(made)]


def _tables() -> list[Seed]:
    rows = "".join(f"film{i}.png,{MARKS[0]}{i // 2},{i % 2},{'abc'[i % 3]},{40 + i}\n" for i in range(12))
    head = "file,patient,mass,grade,age\n"
    return [
        Seed("csv", "labels.csv", (head + rows).encode()),
        Seed("csv", "semicolons.csv", (head + rows).replace(",", ";").encode("utf-8-sig")),
        Seed("csv", "tabs.tsv", (head + rows).replace(",", "\t").encode("utf-16")),
    ]


def _packed(made: list[Seed]) -> list[Seed]:
    """Zip archives, tars and arrays of the files made so far."""
    first = [next(s for s in made if s.kind == kind) for kind in ("png", "dicom", "jpeg", "nifti.gz", "tiff")]
    inside = {f"{MARKS[0]}/{s.name}": s.raw for s in first}
    out = [
        Seed("zip", "stored.zip", zipped(inside, zipfile.ZIP_STORED)),
        Seed("zip", "deflated.zip", zipped(inside)),
        Seed("tar", "plain.tar", tarred(inside)),
        Seed("tar", "pax.tar", tarred({f"{'long' * 30}/{n}": r for n, r in inside.items()}, tarfile.PAX_FORMAT)),
        Seed("tar", "packed.tar.gz", gzip.compress(tarred(inside), mtime=0)),
    ]
    films = np.random.default_rng(6).integers(0, 256, (5, 12, 12), np.uint8)
    volumes = np.random.default_rng(7).random((3, 9, 9, 9)).astype(np.float32)
    for images, labels in ((films, np.arange(5)[:, None] % 2), (volumes, np.eye(3, dtype=np.uint8))):
        raw = io.BytesIO()
        np.savez_compressed(raw, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
        out.append(Seed("npz", f"arrays-{images.ndim}.npz", raw.getvalue()))
    return out


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive of some files, with a fixed date."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, raw in files.items():
            archive.writestr(zipfile.ZipInfo(name), raw, method)
    return out.getvalue()


def tarred(files: dict[str, bytes], layout: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of some files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as archive:
        for name, raw in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(raw)
            archive.addfile(about, io.BytesIO(raw))
    return out.getvalue()


def _real() -> list[Seed]:
    """The small files that pydicom brings."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    files = (p for p in sorted(folder.glob("*.dcm")) if 0 < p.stat().st_size <= _LARGEST_REAL)
    return [Seed("real dicom", p.name, p.read_bytes()) for p in itertools.islice(files, 60)]
