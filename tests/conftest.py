"""For all tests."""

import gc

from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # what else runs on the machine is no fault of a test's
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """What has been imported and collected stays to the end: no later look for garbage goes through all of it again."""
    gc.collect()
    gc.freeze()
