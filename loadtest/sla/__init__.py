"""Load tests that measure service levels: open loop, believable, with a verdict."""
