"""Servers that others would write or run for the same models, to compare with."""
