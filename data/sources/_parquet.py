"""Parquet files of encoded images: their parts, columns of labels, and the bytes of every image."""

from __future__ import annotations

import json
from bisect import bisect_right
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, DataError, StageError
from data.numpy_files import scratch_file
from data.sources._labelling import PART_NAMES, some
from data.splitting import TRAIN
from data.tables import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX = ".parquet"
# Images that are in memory at a time while a file is read through.
_IMAGES_A_BATCH = 64


def find_parquet(path: str) -> tuple[Path, dict[str, int | None]]:
    """The files of a data set and the part of each.

    Args:
        path: a file, or a folder that holds files, at any depth; hidden ones are passed over.

    Returns:
        The folder, and for each file, by its name relative to it and in the order of the parts and names, 0 training,
        1 validation or 2 test; None for all files where no name tells a part.

    Raises:
        DataError: if there are none, or some tell a part and others not.
    """
    where = Path(path).expanduser()
    if where.is_file():
        return where.parent, {where.name: None}
    if not where.is_dir():
        raise DataError(f"{path}: must be a Parquet file or a folder of them (source.path), got none; check its name.")
    names = sorted(
        file.relative_to(where).as_posix()
        for file in where.rglob(f"*{_SUFFIX}")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(where).parts)
    )
    if not names:
        raise DataError(f"{path}: must hold files that end with {_SUFFIX}, got none; check source.path.")
    parts = {name: _part_of(name) for name in names}
    known = [name for name, part in parts.items() if part is not None]
    if known and len(known) < len(names):
        odd = [name for name in names if parts[name] is None]
        raise DataError(
            f"{path}: names of files must begin with train, validation or test, or lie in such a folder, as others do, "
            f"got {some(odd)}; rename or remove them."
        )
    if known and TRAIN not in parts.values():
        raise DataError(f"{path}: must have files of the part train, got {some(known)}; rename them.")
    _check_one_configuration(path, names)
    return where, dict(sorted(parts.items(), key=lambda item: (item[1] or 0, item[0])))


def _check_one_configuration(path: str, names: list[str]) -> None:
    """Refuses folders of several configurations, which Hugging Face keeps side by side and reads one at a time."""
    folders = {"/".join(part for part in name.split("/")[:-1] if part.casefold() not in PART_NAMES) for name in names}
    folders -= {""}
    holding = {name.rpartition("/")[0] for name in names}
    if len(folders) + ("" in holding) > 1:
        inside = sorted(folders) + (["."] if "" in holding else [])
        raise DataError(
            f"{path}: must hold the files of one configuration, got folders {some(inside)}; set source.path to one of "
            "them, or put all files into one folder."
        )


def _part_of(name: str) -> int | None:
    """The part that a file name, or the name of one of its folders, tells: "data/train-00000-of-00002.parquet"."""
    *folders, file = name.split("/")
    words = [file.removesuffix(_SUFFIX).replace("_", "-").replace(".", "-").split("-")[0], *reversed(folders)]
    return next((PART_NAMES[word.casefold()] for word in words if word.casefold() in PART_NAMES), None)


def _names_beside(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...]:
    """The names of a ClassLabel as Hugging Face writes them beside the schema; none without."""
    try:
        names = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


class ImageBytes:
    """The encoded images of a data set, in a file without a name.

    Args:
        stored: all bytes, one after the other.
        ends: where each image ends, int64 (N,).
        files: name the rows.
    """

    def __init__(self, stored: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], files: ParquetFiles) -> None:
        self._stored, self._ends, self._files = stored, ends, files

    def __len__(self) -> int:
        """Number of images."""
        return len(self._ends)

    def take(self, rows: npt.NDArray[np.integer]) -> tuple[list[bytes], list[str]]:
        """The bytes of images, and what a person finds each by."""
        from data.reading import release_pages

        starts = np.where(rows > 0, self._ends[rows - 1], 0)
        found = [self._stored[start:end].tobytes() for start, end in zip(starts, self._ends[rows], strict=True)]
        release_pages(self._stored)
        return found, [self._files.name_of(int(row)) for row in rows]


class ParquetFiles:
    """The files of a data set as one table.

    Args:
        path: a file, or a folder of them.

    Raises:
        ConfigError: if pyarrow is not installed.
        DataError: if a file is no Parquet file, or the files have other columns.
    """

    def __init__(self, path: str) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
            import_module("pyarrow.parquet")
        except ImportError as error:
            raise ConfigError(
                "source kind parquet needs pyarrow, which is not installed; run pip install 'stillhouse[export]'."
            ) from error
        self.path = path
        self._root, self._parts = find_parquet(path)
        self._names = list(self._parts)
        counts = []
        for name in self._names:
            with self._opened(name) as file:
                counts.append(file.metadata.num_rows)
        self._ends = list(accumulate(counts))
        self.rows = self._ends[-1]
        if not self.rows:
            raise DataError(f"{path}: must have at least one row, got none; add rows.")

    @property
    def parts(self) -> npt.NDArray[np.uint8] | None:
        """0 training, 1 validation, 2 test, by row; None where no file's name tells it."""
        numbers = list(self._parts.values())
        if numbers[0] is None:
            return None
        counts = np.diff([0, *self._ends])
        return np.repeat(np.array(numbers, np.uint8), counts)

    def name_of(self, row: int) -> str:
        """What a person finds a row by: its file, and its number there from 0."""
        place = bisect_right(self._ends, row)
        return f"{self._names[place]} row {row - (self._ends[place - 1] if place else 0)}"

    def check_column(self, column: str, option: str) -> str:
        """The name of a column as the files have it.

        Raises:
            DataError: naming the nearest one.
        """
        return nearest(column, self._schema.names, self.path, option)

    def numbers(self, column: str, option: str) -> npt.NDArray[np.float64]:
        """A column of finite numbers, float64 (N,).

        Raises:
            DataError: naming the rows with anything else.
        """
        types = self._arrow.types
        column = self.check_column(column, option)
        kind = self._schema.field(column).type
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
            raise DataError(f"{self.path}: column {column} must hold numbers for {option}, got {kind}; convert it.")
        joined = np.concatenate(
            [part.cast(self._arrow.float64()).to_numpy(zero_copy_only=False) for part in self._column(column)]
        ).astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(joined))
        if bad.size:
            raise DataError(
                f"{self.path}: column {column} must hold numbers, but {bad.size:,} rows do not: "
                f"{some([self.name_of(int(row)) for row in bad])}; fill them in or remove them."
            )
        return joined

    def classes(self, column: str, option: str) -> tuple[list[Any], tuple[str, ...]]:
        """A column of classes, numbers or texts, and the names of the numbers that the files tell, or ().

        Raises:
            DataError: if the column holds anything else, or a number has no name.
        """
        types = self._arrow.types
        column = self.check_column(column, option)
        kind = self._schema.field(column).type
        value = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_integer(value) or types.is_string(value) or types.is_large_string(value)):
            raise DataError(
                f"{self.path}: column {column} must hold classes, whole numbers or texts, got {kind}; "
                "name it in source.values if it holds values."
            )
        found = [text for part in self._column(column) for text in part.to_pylist()]
        names = self._class_names(column) if types.is_integer(value) else ()
        # Hugging Face writes -1 where a label is not known.
        odd = [row for row, text in enumerate(found) if text is None or (names and not 0 <= text < len(names))]
        odd += [row for row, text in enumerate(found) if text == ""]
        if odd:
            told = [f"{self.name_of(row)}: {'nothing' if found[row] in (None, '') else found[row]}" for row in odd]
            raise DataError(
                f"{self.path}: column {column} must name a class, but {len(odd):,} rows do not: {some(told)}; "
                "fill them in or remove them."
            )
        return found, names

    def _class_names(self, column: str) -> tuple[str, ...]:
        """The names of a ClassLabel, the same in all files: a number must not mean another class in another file."""
        told = {name: _names_beside(metadata, column) for name, metadata in self._metadata.items()}
        first, names = next(iter(told.items()))
        for file, others in told.items():
            if others != names:
                raise DataError(
                    f"{self._root / file}: column {column} must name the classes as {first} does "
                    f"({some(names) or 'not at all'}), got {some(others) or 'no names'}; write the files with one "
                    "ClassLabel, or the classes as texts."
                )
        return names

    def image_bytes(self, column: str) -> ImageBytes:
        """Reads the encoded images through, once; those without bytes are empty files.

        Raises:
            DataError: if the column holds no bytes, or a file is damaged.
        """
        types = self._arrow.types
        column = self.check_column(column, "source.image_column")
        kind = self._schema.field(column).type
        within = types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        stored = kind.field("bytes").type if within else kind
        if not (types.is_binary(stored) or types.is_large_binary(stored)):
            raise DataError(
                f"{self.path}: column {column} must hold encoded images, bytes or a struct with bytes, got {kind}; "
                "set source.image_column."
            )
        ends = np.empty(self.rows, np.int64)
        row = end = 0
        try:
            with scratch_file() as target:
                for part in self._column(column):
                    for content in (part.field("bytes") if within else part).to_pylist():
                        end += target.write(content or b"")
                        ends[row] = end
                        row += 1
                target.flush()
                mapped = np.memmap(target, np.uint8, "r", 0, (end,)) if end else np.zeros(0, np.uint8)
        except OSError as error:
            raise StageError(
                f"{self.path}: the encoded images must have room on the disk while they are read, but there is none "
                f"after {end:,} bytes ({error.strerror or error}); free some, or set XDG_CACHE_HOME to a larger disk."
            ) from error
        return ImageBytes(mapped, ends, self)

    def _column(self, column: str) -> Iterator[Any]:
        """The values of a column, a few at a time."""
        for name in self._names:
            with self._opened(name) as file:
                for batch in file.iter_batches(_IMAGES_A_BATCH, columns=[column], use_threads=False):
                    yield batch.column(0)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._schema.names)

    @cached_property
    def _metadata(self) -> dict[str, dict[bytes, bytes]]:
        """What each file tells beside its columns."""
        found = {}
        for name in self._names:
            with self._opened(name) as file:
                found[name] = dict(file.schema_arrow.metadata or {})
        return found

    @cached_property
    def _schema(self) -> Any:
        """The columns, which all files must have."""
        first: Any = None
        for name in self._names:
            with self._opened(name) as file:
                schema = file.schema_arrow
            first = schema if first is None else first
            if not schema.equals(first):
                raise DataError(
                    f"{self._root / name}: must have the columns of {self._names[0]} ({', '.join(first.names)}), got "
                    f"{', '.join(schema.names)} of other names or types; write the files alike."
                )
        return first

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        """A file, without a cache of its pages."""
        path = self._root / name
        try:
            with self._arrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
                yield file
        except (OSError, self._arrow.ArrowException) as error:
            said = " ".join(str(error).split())[:160]
            raise DataError(f"{path}: must be a whole Parquet file ({said}); get it again.") from error
