"""Where a server is asked: HOST:PORT."""

from __future__ import annotations

import re
from typing import Final

from router.errors import SettingsError

_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]/@]+):([0-9]{1,5})")


def address(text: str) -> str:
    """`text` if it is HOST:PORT. Raises SettingsError otherwise: gRPC would take many a typing error for a name."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found[2]) < 65536:
        raise SettingsError(f"{text[:80]!r} is no address: expected HOST:PORT, such as 127.0.0.1:8001 or [::1]:8001")
    return text
