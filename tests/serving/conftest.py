"""For tests of serving."""

from __future__ import annotations

import pytest

from router.serving.request_log import TROUBLES


@pytest.fixture(autouse=True)
def lines_of_the_log() -> None:
    """Each test has as many as it likes: they are bounded by the second, and tests are quick."""
    TROUBLES._kinds.clear()
