"""Cases that have ended, of which the newest stay in the store: a schedule that trains each hour would fill it else."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select

from router.control.records import Case
from router.control.schema import CASES, VERSIONS
from router.core.standing import CaseKind
from router.core.version import SERVING

KEPT_CASES: Final = 200
"""Of each model and kind, the newest."""
KEPT_S: Final = 400 * 86_400.0
"""None stays for longer: more than the longest interval between two retrainings, which is counted from the last one."""
LOOKED_AT: Final = 500
"""Of all models' cases the oldest, whenever one ends: by their numbers, so that nobody waits for a search."""


def let_go(connection: Connection, case: Case) -> None:
    """After a case has ended: of its model and kind those go that are too many, of all models those that are too old.

    Where a version comes from is known for as long as it answers.
    """
    same = (CASES.c.model == case.model, CASES.c.kind == str(case.kind), CASES.c.ended > 0)
    newest = select(CASES.c.id).where(*same).order_by(CASES.c.id.desc()).limit(KEPT_CASES)
    connection.execute(delete(CASES).where(*same, CASES.c.id.not_in(newest), ~_lineage()))
    oldest = select(CASES.c.id).order_by(CASES.c.id).limit(LOOKED_AT)
    last = select(func.max(CASES.c.id)).scalar_subquery()  # no number is given twice
    old = (CASES.c.id.in_(oldest), CASES.c.id < last, CASES.c.ended > 0, CASES.c.ended < case.ended - KEPT_S)
    connection.execute(delete(CASES).where(*old, ~_lineage()))


def _lineage() -> ColumnElement[bool]:
    version = (VERSIONS.c.model == CASES.c.model, VERSIONS.c.number == CASES.c.number)
    answers = VERSIONS.c.stage.in_([str(each) for each in sorted(SERVING)])
    return and_(CASES.c.kind == str(CaseKind.RETRAINING), exists().where(*version, answers).correlate(CASES))
