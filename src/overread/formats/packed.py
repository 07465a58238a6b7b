"""What lies in a zip or a tar archive: members are looked at in memory, one at a time; nothing is written to disk."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from overread.errors import UnreadableFile
from overread.formats import arrays, dicomdir, offer, tar
from overread.formats.far import Far
from overread.formats.jobs import Part
from overread.formats.limits import ZIP_FAULTS
from overread.formats.offer import Harvest, is_litter, is_unsafe
from overread.formats.sidecar import Beside
from overread.formats.sniff import HEAD, described, sniff

LARGEST_RATIO = tar.LARGEST_RATIO
_HEAD = 64 << 10  # of a member: going back in a packed one costs reading it again
_TAR_HEAD = 1 << 20  # a packed tar archive can only go forward
_SMALL = 1 << 20  # what is read beside an image: a sidecar, a table of participants


def unpack_zip(part: Part, harvest: Harvest) -> None:
    """Offer what lies in a zip archive; an .npz file is one, too."""
    try:
        with zipfile.ZipFile(part.path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if arrays.is_npz([m.filename for m in members]):
                for chunk in arrays.chunks(Path(part.path)):
                    harvest.jobs.add("array", part, chunk=chunk)
            elif any(m.filename == "[Content_Types].xml" for m in members):
                harvest.refuse(part, "not-an-image", "an Office document", expected="images", do="leave it out")
            elif sum(m.file_size for m in members) > LARGEST_RATIO * max(1, os.path.getsize(part.path)):
                harvest.refuse(
                    part, "too-large", "a zip archive that unpacks to more than deflate can hold", do="pack it again"
                )
            elif sum(m.compress_size for m in members) > os.path.getsize(part.path):
                harvest.refuse(part, "too-large", "a zip archive whose members overlap", do="pack it again")
            elif not members:
                harvest.refuse(part, "empty-file", "an empty zip archive", expected="images", do="pack it again")
            else:
                for member in members:
                    _zip_member(part, member, archive, harvest)
    except UnreadableFile as error:
        harvest.jobs.refuse(part, error.code, str(error))
    except ZIP_FAULTS:
        harvest.refuse(part, "malformed", "a damaged zip archive", do="copy or pack it again")


def _zip_member(whole: Part, member: zipfile.ZipInfo, archive: zipfile.ZipFile, harvest: Harvest) -> None:
    harvest.looked()
    part = Part(f"{whole.name}!{member.filename}", whole.path, member.filename)
    if harvest.jobs.is_second(part):
        _refuse_second(part, member.header_offset, harvest)
    elif is_litter(member.filename.replace("\\", "/")):
        harvest.jobs.ignore(part)
    elif is_unsafe(member.filename):
        harvest.refuse(part, "unsafe-name", "a zip member whose name leads out of the archive", do="pack it again")
    elif member.flag_bits & 1:
        harvest.refuse(part, "encrypted", "an encrypted zip member", expected="a plain one", do="unpack it first")
    elif member.file_size > offer.LARGEST_MEMBER:
        harvest.refuse_large(part, member.file_size)
    else:
        try:
            with archive.open(member) as stream:
                head = stream.read(_HEAD)
                if dicomdir.is_directory(head):
                    find = dicomdir.in_archive(
                        archive.namelist(), str(PurePosixPath(member.filename).parent).strip(".")
                    )
                    list(read_directory(part, head + stream.read(), find, harvest))
                else:
                    offer.offer(
                        part, head, stream, harvest, beside=beside_in_zip(archive), lies=archive.NameToInfo.__contains__
                    )
        except ZIP_FAULTS:
            harvest.refuse(part, "malformed", "a damaged zip member", do="copy or pack the archive again")
            harvest.jobs.lose(part)


def _refuse_second(part: Part, at: int, harvest: Harvest) -> None:
    """Account for a member that has the name of one before it: a label table that names it could mean either."""
    once = f"{part.member} (again, at byte {at})"
    came = "a member with the name of one before it in the archive, which was looked at"
    again = replace(part, name=f"{part.name.removesuffix(part.member)}{once}", member=once)
    harvest.refuse(
        again, "same-name", came, expected="each name once", do="unpack it, see which is right, pack it again"
    )
    harvest.jobs.lose(part)


def read_directory(
    part: Part, raw: bytes, find: Callable[[tuple[str, ...]], str | None], harvest: Harvest
) -> Iterator[str]:
    """Account for a disc's DICOMDIR and for what it names and is not there; yield what is there.

    A series hears of its files that are not there; where nothing says of which series they are, those of the folder do.
    """
    try:
        named = dicomdir.named_files(raw)
    except UnreadableFile as error:
        harvest.jobs.refuse(part, error.code, str(error))
        return
    told = f"the directory of a disc; the {len(named):,} files that it names were looked for"
    harvest.jobs.refuse(part, code="directory", reason=told)
    beside: dict[tuple[str, ...], str] = {}  # folder as the record has it → a file that lies there
    gone: list[dicomdir.Named] = []
    for record, (name, file) in zip(named, dicomdir.located(named, find), strict=True):
        if not isinstance(file, UnreadableFile):
            beside.setdefault(record.parts[:-1], file)
            yield file
            continue
        harvest.jobs.refuse(Part(f"{part.name}!{name}", part.path, name), file.code, str(file))
        gone += [record] if file.code == "missing-from-disc" else []
    for record in gone:
        if record.series:
            harvest.jobs.miss(record.series, record.instance or "/".join(record.parts))
        elif file := beside.get(record.parts[:-1]):
            harvest.jobs.lose(Part(file, part.path, file) if part.member else Part(file, file))


def beside_in_zip(archive: zipfile.ZipFile) -> Beside:
    """Return the function that reads a small member by its name."""

    def read(name: str) -> bytes | None:
        try:
            about = archive.getinfo(name)
            return archive.read(about) if about.file_size <= _SMALL and not about.flag_bits & 1 else None
        except ZIP_FAULTS:
            return None

    return read


def beside_on_disk(name: str) -> bytes | None:
    """Return a small file's bytes by its path; None where there is none."""
    try:
        with open(name, "rb") as stream:
            raw = stream.read(_SMALL + 1)
    except (OSError, ValueError):
        return None
    return raw if len(raw) <= _SMALL else None


def unpack_tar(part: Part, harvest: Harvest) -> None:
    """Offer what lies in a tar archive, in one pass."""
    seen = 0
    try:
        packed = os.path.getsize(part.path)
        with tar.opened(part.path, packed) as stream:
            start = stream.read(HEAD)
        if not tar.is_tar(start[: tar.BLOCK]) and start.strip(b"\0"):  # only bzip2 hides until now what it holds
            came = f"a packed file that holds {described(sniff(start))}"
            harvest.refuse(part, "unsupported-format", came, expected="a tar archive", do="unpack it first")
            return
        directories: list[tuple[Part, bytes]] = []
        with tar.opened(part.path, packed) as stream:
            for member in tar.members(stream):
                seen += member.kind != "folder"
                _tar_member(part, member, stream, harvest, directories)
        for disc, raw in directories:
            find = dicomdir.in_archive(
                harvest.jobs.members(part.path), str(PurePosixPath(disc.member).parent).strip(".")
            )
            list(read_directory(disc, raw, find, harvest))
    except UnreadableFile as error:
        harvest.jobs.refuse(part, error.code, str(error))
        harvest.jobs.lose(part, rest=True)
        return
    if not seen:
        harvest.refuse(part, "empty-file", "an empty tar archive", expected="images", do="pack it again")


def _tar_member(
    whole: Part, member: tar.Member, stream: tar.Stream, harvest: Harvest, directories: list[tuple[Part, bytes]]
) -> None:
    """Offer one member; a disc's directory is kept until all that it may name was seen."""
    if member.kind == "folder":
        return
    harvest.looked()
    name = member.name.removeprefix("./")
    part = Part(f"{whole.name}!{name}", whole.path, name, (member.begin, member.size))
    if harvest.jobs.is_second(part):
        _refuse_second(part, member.begin, harvest)
    elif is_litter(name):
        harvest.jobs.ignore(part)
    elif is_unsafe(name):
        harvest.refuse(part, "unsafe-name", "a tar member whose name leads out of the archive", do="pack it again")
    elif member.kind in ("link", "device"):
        came = "a link to another file" if member.kind == "link" else "a device or a pipe"
        harvest.refuse(part, "not-an-image", came, expected="a file", do="leave it out")
    elif member.kind == "sparse":
        harvest.refuse(part, "unsupported-format", "a tar member stored with holes", do="pack it again without them")
    elif member.size > offer.LARGEST_MEMBER:
        harvest.refuse_large(part, member.size)
    else:
        head = stream.read(min(member.size, _TAR_HEAD))
        if dicomdir.is_directory(head):
            directories.append((part, head + stream.read(member.size - len(head))))
            return
        offer.offer(part, head, io.BytesIO(head), harvest, beside=_nothing_beside, lies=_nothing_lies)


def contents(parts: tuple[Part, ...], far: Far | None = None) -> Iterator[tuple[Part, bytes | UnreadableFile, Beside]]:
    """Yield each part's bytes, opening an archive once, or why they cannot be read; and how to read what lies beside it."""
    if far is not None:
        for part, raw in far.contents(parts):  # a sidecar is asked for beside a volume only: each costs a request
            yield part, raw, far.beside if part.path.endswith((".nii", ".nii.gz")) else _nothing_beside
        return
    at = 0
    while at < len(parts):
        end = at + 1
        while end < len(parts) and parts[end].path == parts[at].path:
            end += 1
        group = parts[at:end]
        yield from (_from_disk if not group[0].member else _from_tar if group[0].span else _from_zip)(group)
        at = end


def _gone() -> UnreadableFile:
    return UnreadableFile("a file that can no longer be read", code="unreadable", do="check the disk or the archive")


def _from_disk(group: tuple[Part, ...]) -> Iterator[tuple[Part, bytes | UnreadableFile, Beside]]:
    for part in group:
        try:
            raw: bytes | UnreadableFile = Path(part.path).read_bytes()
        except (OSError, ValueError):
            raw = _gone()
        yield part, raw, beside_on_disk


def _from_zip(group: tuple[Part, ...]) -> Iterator[tuple[Part, bytes | UnreadableFile, Beside]]:
    try:
        archive = zipfile.ZipFile(group[0].path)
    except ZIP_FAULTS:
        yield from ((part, _gone(), _nothing_beside) for part in group)
        return
    with archive:
        first = {member.filename: member for member in reversed(archive.infolist())}
        for part in group:
            try:
                raw: bytes | UnreadableFile = archive.read(first.get(part.member, part.member))
            except ZIP_FAULTS:
                raw = _gone()
            yield part, raw, beside_in_zip(archive)


def _from_tar(group: tuple[Part, ...]) -> Iterator[tuple[Part, bytes | UnreadableFile, Beside]]:
    """Read members front to back, whatever their order in the series."""
    rising = sorted(group, key=lambda part: part.span or (0, 0))
    why, done = _gone(), 0
    try:
        packed = os.path.getsize(group[0].path)
        for raw in tar.contents(group[0].path, packed, [part.span for part in rising if part.span]):
            yield rising[done], raw, _nothing_beside
            done += 1
    except UnreadableFile as error:
        why = error
    except OSError:
        pass  # the disk went away: told of each member that is left
    yield from ((part, why, _nothing_beside) for part in rising[done:])


def _nothing_beside(_: str) -> None:
    """A packed tar archive is read once, front to back: what lies beside a member is not looked for."""


def _nothing_lies(_: str) -> bool:
    return False
