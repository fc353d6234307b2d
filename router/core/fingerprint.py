"""What a request is known by where it cannot be kept: 64 bits that are the same in every process.

The upper half names the version that runs it, the lower half is a checksum of its inputs. Requests of one version that
differ share a fingerprint once in four thousand million.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from zlib import crc32

from router.core.request import Feed
from router.core.table import Version

SAMPLE: Final = 4096
"""Bytes of an input that are looked at; of larger ones `BLOCKS` parts spread over the whole."""
BLOCKS: Final = 8
TEXTS: Final = 256
"""Texts of an input that are looked at."""


def of_version(version: Version) -> int:
    """The upper half, in its place."""
    return crc32(f"{version.model}\0{version.number}\0{version.digest}".encode()) << 32


def names(fingerprint: int, version: Version) -> bool:
    """Whether the request was one for this version."""
    return fingerprint >> 32 == of_version(version) >> 32


def of_feeds(feeds: Iterable[Feed]) -> int:
    """What the lower half begins with."""
    return crc32(repr([(feed.name, feed.datatype, feed.shape) for feed in feeds]).encode())


def of_elements(elements: Sequence[Any], begun: int) -> int:
    """The lower half. `begun` is `of_feeds` of the inputs."""
    for each in elements:
        small = type(each) is memoryview and each.nbytes <= SAMPLE
        begun = crc32(each, begun) if small else _sampled(each, begun)
    return begun


def _sampled(elements: Any, begun: int) -> int:
    if not isinstance(elements, memoryview):
        if elements.dtype.hasobject:
            for text in elements.ravel()[:TEXTS]:
                raw = text.encode() if isinstance(text, str) else text
                begun = crc32(raw[:SAMPLE], begun)
            return begun
        elements = memoryview(elements.ravel()).cast("B")
    if elements.nbytes <= SAMPLE:
        return crc32(elements, begun)
    size = SAMPLE // BLOCKS
    last = elements.nbytes - size
    for block in range(BLOCKS):
        at = last * block // (BLOCKS - 1)
        begun = crc32(elements[at : at + size], begun)
    return begun
