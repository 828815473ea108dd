"""The two forms in which images travel to an endpoint and outputs come back: npz and JSON; see docs/teachers.md."""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

#: Content type of a request and of its answer, by form.
CONTENT_TYPES = {"npz": "application/x-npz", "json": "application/json"}
#: How a member of an npz file may be packed: what can be unpacked in pieces of a size that one chooses.
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: Most arrays of an npz file; only one of them is read, but a table of all is made.
_MOST_MEMBERS = 64
#: Largest answer that is read: this, and so much an image; room for 20,000 outputs in the longest decimal form.
_BYTES_AN_ANSWER, _BYTES_AN_IMAGE = 1 << 20, 1 << 19


class AnswerError(ValueError):
    """An answer that is not what the protocol asks for; the message says what it must be and what it is."""


def largest_answer(images: int) -> int:
    """Bytes of an answer for so many images above which it is not read."""
    return _BYTES_AN_ANSWER + images * _BYTES_AN_IMAGE


def encode(images: npt.NDArray[np.uint8], form: str) -> bytes:
    """The body of a request.

    Args:
        images: uint8 (n, C, H, W).
        form: "npz" or "json".
    """
    if form == "npz":
        file = io.BytesIO()
        np.savez(file, images=np.ascontiguousarray(images))
        return file.getvalue()
    data = base64.b64encode(np.ascontiguousarray(images).tobytes()).decode("ascii")
    return json.dumps({"shape": list(images.shape), "dtype": "uint8", "images": data}).encode()


def decode(body: bytes, form: str, rows: int) -> npt.NDArray[np.float32]:
    """The outputs in the body of an answer, float32 (rows, R).

    Raises:
        AnswerError: if it is none, or not for so many images, or a number is not finite.
    """
    outputs = _from_npz(body, rows) if form == "npz" else _from_json(body)
    if outputs.ndim != 2 or outputs.shape[0] != rows or not outputs.shape[1]:
        raise AnswerError(f"outputs must have shape ({rows}, K), one row for each image sent, got {outputs.shape}")
    with np.errstate(over="ignore"):
        outputs = outputs.astype(np.float32)
    if not np.isfinite(outputs).all():
        bad = int((~np.isfinite(outputs)).any(axis=1).sum())
        raise AnswerError(f"outputs must be finite numbers, got others for {bad} of {rows} images")
    return outputs


def _from_json(body: bytes) -> npt.NDArray[Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AnswerError("the answer must be JSON, got something else") from error
    outputs = document.get("outputs") if isinstance(document, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(row, list) for row in outputs):
        raise AnswerError('the answer must be {"outputs": [[...], ...]}, got no list of lists of that name')
    if len({len(row) for row in outputs}) > 1:
        raise AnswerError("outputs must have rows of one length, got several lengths")
    if any(type(number) not in (int, float) for row in outputs for number in row):
        raise AnswerError("outputs must be numbers, got something else among them")
    try:
        return np.array(outputs, np.float64)
    except OverflowError as error:
        raise AnswerError("outputs must be finite numbers, got one that is too large") from error


def _from_npz(body: bytes, rows: int) -> npt.NDArray[Any]:
    """The array ``outputs``; its header is checked before anything of its size is allocated, and no pickle is read."""
    try:
        # Before the table of contents is read, as a file can hold hundreds of thousands of entries.
        if body.count(b"PK\x01\x02") > _MOST_MEMBERS:
            raise AnswerError(f"the npz file must hold at most {_MOST_MEMBERS} arrays, got more")
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            if "outputs.npy" not in archive.namelist():
                raise AnswerError(
                    f"the npz file must hold 'outputs', got {', '.join(archive.namelist()[:5]) or 'none'}"
                )
            member, most = archive.getinfo("outputs.npy"), largest_answer(rows)
            if member.compress_type not in _PACKINGS:
                raise AnswerError("the npz file must be stored or deflated, got another compression")
            with archive.open(member) as packed:
                # The size that the file states is not believed.
                data = packed.read(most + 1)
            if len(data) > most:
                raise AnswerError(f"outputs must have at most {most} bytes, got more")
            content = io.BytesIO(data)
        version = np.lib.format.read_magic(content)
        if version not in ((1, 0), (2, 0)):
            raise AnswerError(f"outputs.npy must be of version 1.0 or 2.0, got {version[0]}.{version[1]}")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(content)
    except AnswerError:
        raise
    except Exception as error:  # a zip file of unknown origin can fail in many ways, all of them mean the same
        raise AnswerError(f"the answer must be an npz file, got something else ({type(error).__name__})") from error
    if dtype.kind != "f":
        raise AnswerError(f"outputs must be floating point numbers, got {dtype}")
    if (
        len(shape) != 2
        or min(shape) < 0
        or math.prod(shape) * dtype.itemsize != len(content.getbuffer()) - content.tell()
    ):
        raise AnswerError(f"outputs must have shape ({rows}, K) and the bytes of it, got {shape}")
    values = np.frombuffer(content.getbuffer()[content.tell() :], dtype)
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
