"""For all tests."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # what else runs on the machine is no fault of a test's
settings.load_profile("untimed")
