"""Why somebody wants a change: a word for the audit log."""

from __future__ import annotations

import click

reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; it is kept in the audit log.")
