"""Messages on a stream socket, each after its length: four bytes, the largest first."""

from __future__ import annotations

import struct
from typing import Final

from google.protobuf.message import Message

LENGTH: Final = struct.Struct(">I")


def framed(message: Message) -> bytes:
    """A message as it goes over the socket."""
    encoded = message.SerializeToString()
    return LENGTH.pack(len(encoded)) + encoded
