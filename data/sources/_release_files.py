"""Files of a release, unpacked in a folder or still in their archive; an archive is read without unpacking it."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from data.errors import DataError

#: The end of sentences on damaged files.
AGAIN = "try to download it again"
#: No file of a release has more bytes, nor has an archive more when it is unpacked.
_MOST_BYTES = 1 << 28
_MOST_UNPACKED_BYTES = 1 << 29


@dataclass(frozen=True)
class Form:
    """One of the two forms in which a release is published.

    Args:
        folder: the folder that its archive holds.
        archive: name of its archive.
        training: files of the training images, in the order of the rows.
        test: file of the test images.
        names: for each set of labels, the file with its class names.
        binary: whether the files are records of bytes instead of pickles.
    """

    folder: str
    archive: str
    training: tuple[str, ...]
    test: str
    names: tuple[tuple[str, str], ...]
    binary: bool

    @property
    def files(self) -> tuple[str, ...]:
        """The files that must be there."""
        return (*self.training, self.test)


@dataclass(frozen=True)
class Found:
    """Where a release lies, with the state of its files: part of cache keys, so that a changed file is read anew."""

    form: Form
    place: Path
    packed: bool
    states: tuple[tuple[str, int, int], ...]

    @property
    def root(self) -> Path:
        """The folder of the files."""
        return self.place.parent if self.packed else self.place

    @property
    def paths(self) -> list[Path]:
        """The files that decide the data."""
        return [self.place] if self.packed else [self.place / name for name, _, _ in self.states]


def packed(archive: Path, form: Form) -> Found:
    """An archive, which holds the files under their form's folder."""
    state = archive.stat()
    return Found(form, archive, True, ((archive.name, state.st_size, state.st_mtime_ns),))


@lru_cache(maxsize=4)
def content_of(found: Found, name: str) -> bytes | None:
    """The bytes of a small file, or None where there is none."""
    return dict(contents(found, (name,), optional=True)).get(name)


def contents(found: Found, names: Sequence[str], *, optional: bool = False) -> Iterator[tuple[str, bytes]]:
    """The bytes of files, one at a time; from an archive in the archive's order."""
    if found.packed:
        yield from _members(found, names, optional)
        return
    for name in names:
        path = found.place / name
        try:
            if optional and not path.is_file():
                continue
            if path.stat().st_size > _MOST_BYTES:
                raise DataError(f"{path}: must have at most {_MOST_BYTES} bytes, got more; {AGAIN}.")
            yield name, path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: must be readable ({error.strerror}); change its permissions.") from error


def _members(found: Found, names: Sequence[str], optional: bool) -> Iterator[tuple[str, bytes]]:
    wanted = {f"{found.form.folder}/{name}": name for name in names}
    try:
        with gzip.open(found.place) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                if member.offset_data + member.size > _MOST_UNPACKED_BYTES or member.size > _MOST_BYTES:
                    raise DataError(f"{found.place}: must unpack to fewer bytes, got {member.name}; {AGAIN}.")
                name = wanted.pop(member.name.removeprefix("./"), None)
                if name is not None:
                    file = archive.extractfile(member) if member.isreg() else None
                    if file is None:
                        raise DataError(f"{found.place}: {member.name} must be a file in itself; {AGAIN}.")
                    yield name, file.read()
                if optional and not wanted:
                    return
            # gzip's checksum comes last.
            while unpacked.tell() <= _MOST_UNPACKED_BYTES and unpacked.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{found.place}: must be a whole archive ({error}); {AGAIN}.") from error
    if wanted and not optional:
        raise DataError(f"{found.place}: must hold {next(iter(wanted))}, got none; {AGAIN}.")
