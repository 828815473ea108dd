"""Reads the pickles that old data sets are published as, without the machine that runs what a pickle asks for.

``pickle.load`` calls whatever the file names. Here the file is only taken apart (by ``pickletools``), and a machine
of a few lines puts together what such files hold: dicts with text keys, lists, tuples, texts, whole numbers and
arrays of bytes. Nothing is ever looked up or called by a name in the file.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from data.errors import DataError

#: Opcodes that put their argument on the stack; text of Python 2 comes as one character a byte.
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1")
_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE")
_VALUES = frozenset((*_NUMBERS, *_TEXTS))
_BYTES = frozenset(("BINBYTES", "SHORT_BINBYTES"))
_MAKE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUT = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GET = frozenset(("GET", "BINGET", "LONG_BINGET"))
#: Names that stand for something here; they are compared, never imported.
_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
#: Steps of a file: each may make a thing of a hundred bytes, and the largest published file takes a fifth of them.
_MOST_STEPS = 1 << 20
_DTYPE, _ARRAY, _ENCODE = "numpy dtype", "numpy ndarray", "_codecs encode"


class _Name(str):
    """What a file wants to be looked up."""

    __slots__ = ()


class _Bytes:
    """The type of an array; only unsigned bytes are admitted."""


class _Array:
    """An array whose values come later in the file."""

    values: np.ndarray[Any, np.dtype[np.uint8]] | None = None


def read_pickle(content: bytes, where: str) -> dict[str, Any]:
    """Reads a pickle of protocol 0 to 3 that holds a dict.

    Args:
        content: the bytes of the file.
        where: the file, for messages.

    Returns:
        The dict; texts of any kind as ``str`` (bytes as one character each), arrays as uint8.

    Raises:
        DataError: if it is no such pickle, or holds or asks for anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of escapes in a text that Python would write otherwise
            found = _run(content)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{where}: must be a pickle of texts, whole numbers and byte arrays alone ({reason[:200]}); "
            "try to download the file again."
        ) from error
    return {key: value.values if isinstance(value, _Array) else value for key, value in found.items()}


def _run(content: bytes) -> dict[str, Any]:
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    argument: Any
    # Many arrays may be made of one text: all of them together must not be larger than the file.
    left = len(content)
    for step, (opcode, argument, place) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if step == _MOST_STEPS:
            raise ValueError(f"it has more than {_MOST_STEPS} steps")
        if name in _VALUES:
            stack.append(argument)
        elif name in _BYTES:
            stack.append(bytes(argument).decode("latin-1"))
        elif name in _MAKE:
            stack.append(_MAKE[name]())
        elif name == "GLOBAL":
            stack.append(_Name(argument))
        elif name in _PUT:
            memo[int(argument)] = stack[-1]
        elif name in _GET:
            stack.append(memo[int(argument)])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in _TUPLES:
            items = tuple(_pop(stack) for _ in range(_TUPLES[name]))
            stack.append(items[::-1])
        elif name == "LIST":
            stack.append(since_mark())
        elif name in ("APPEND", "APPENDS"):
            items = (_pop(stack),) if name == "APPEND" else tuple(since_mark())
            _of(stack[-1], list, "list").extend(items)
        elif name == "DICT":
            stack.append(_pairs({}, since_mark()))
        elif name in ("SETITEM", "SETITEMS"):
            pairs = [_pop(stack), _pop(stack)][::-1] if name == "SETITEM" else since_mark()
            _pairs(_of(stack[-1], dict, "dict"), pairs)
        elif name == "REDUCE":
            arguments = _of(_pop(stack), tuple, "tuple")
            stack.append(_make(_of(_pop(stack), _Name, "name"), arguments))
        elif name == "BUILD":
            state = _of(_pop(stack), tuple, "tuple")
            left -= _fill(stack[-1], state, left)
        elif name == "STOP":
            found: dict[str, Any] = _of(_pop(stack), dict, "dict")
            return found
        elif name != "PROTO":
            raise ValueError(f"it asks for {name} at byte {place}")
    raise ValueError("it has no end")


def _pop(stack: list[Any]) -> Any:
    return stack.pop()


def _of(value: Any, kind: type, told: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it has a {type(value).__name__.strip('_').lower()} where a {told} must be")
    return value


def _pairs(into: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Tuples that hold each other take for ever to hash.
        into[_of(key, str, "text")] = value
    return into


def _make(name: _Name, arguments: tuple[Any, ...]) -> Any:
    if name in _RECONSTRUCT and arguments[:1] == (_ARRAY,):
        return _Array()
    if name == _DTYPE and arguments[:1] in (("u1",), ("|u1",), ("uint8",)):
        return _Bytes()
    if name == _ENCODE and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
        return _of(arguments[0], str, "text")
    raise ValueError(f"it asks for {name}")


def _fill(target: Any, state: tuple[Any, ...], most_bytes: int) -> int:
    """Gives an array its values, of at most so many bytes; how many they are."""
    if isinstance(target, _Bytes):
        return 0  # version, byte order and such, of which a single byte has none
    array = _of(target, _Array, "array")
    _, shape, kind, by_columns, data = state
    _of(kind, _Bytes, "type of unsigned bytes")
    if not all(type(length) is int and length >= 0 for length in _of(shape, tuple, "tuple")):
        raise ValueError("it has an array of no shape")
    if len(_of(data, str, "text")) > most_bytes:
        raise ValueError("it has arrays of more bytes than the file")
    values = np.frombuffer(data.encode("latin-1"), np.uint8)
    array.values = values.reshape(shape, order="F" if by_columns else "C")
    return len(values)
