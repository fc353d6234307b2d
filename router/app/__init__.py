"""Composition: each process on one page."""
