"""For all tests."""

import gc

from hypothesis import settings

# What else runs on the machine is no fault of a test's. Examples are drawn anew by each run: in time they are many.
settings.register_profile("untimed", deadline=None, max_examples=60)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """What has been imported and collected stays to the end: no later look for garbage goes through all of it again."""
    gc.collect()
    gc.freeze()
