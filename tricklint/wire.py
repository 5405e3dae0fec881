"""Messages between processes of the tool: pickled, each behind its length, over private pipes."""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any

_LENGTH = struct.Struct(">I")


def pack(message: object) -> bytes:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def length(header: bytes) -> int:
    return int(_LENGTH.unpack(header)[0])


HEADER = _LENGTH.size


def unpack(data: bytes) -> Any:
    return pickle.loads(data)


def read(stream: IO[bytes]) -> Any:
    """The next message, None when the other side is gone."""
    header = stream.read(HEADER)
    if len(header) < HEADER:
        return None
    data = stream.read(size := length(header))
    return unpack(data) if len(data) == size else None
