"""What drift has seen so far, as it is kept in the store: windows, or the first rows of a reference."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert as put

from router.control.baseline_rows import Store
from router.control.schema import DRIFT
from router.core.drift_kept import UNREADABLE, Arrays, Forgotten


@dataclass(frozen=True, slots=True)
class SeenRecord:
    """Of one side of a model, at `saved`: the windows that were compared with the reference that was `made` then.

    Without a reference (`made` is 0) the rows that are to become one, of the version `number`; where they are too many
    to be kept, `rows` tells how many there were and the `body` is empty. Times are in seconds since 1970.
    """

    model: str
    side: str
    number: str
    made: float
    rows: int
    saved: float
    body: bytes


def to_bytes(arrays: Arrays) -> bytes:
    """As they are kept."""
    target = io.BytesIO()
    np.savez_compressed(target, **arrays)  # type: ignore[arg-type]  # names are names of arrays
    return target.getvalue()


def from_bytes(body: bytes) -> Arrays:
    """The arrays again. Raises Forgotten."""
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (*UNREADABLE, EOFError, MemoryError, NotImplementedError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise Forgotten("what was kept of drift cannot be read") from error


class DriftRows:
    """Keeps one for each side of each model. Its methods block, and raise RouterErrors."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self, model: str) -> list[SeenRecord]:
        """Those of a model."""
        with self._store.looking() as connection:
            wanted = select(DRIFT).where(DRIFT.c.model == model)
            return [SeenRecord(**row) for row in connection.execute(wanted).mappings()]

    def keep(self, records: Sequence[SeenRecord], models: Collection[str]) -> None:
        """In the place of those of the same sides; of other models than these nothing stays."""
        with self._store.changing() as connection:
            connection.execute(delete(DRIFT).where(DRIFT.c.model.not_in(models)))
            for each in records:
                values = asdict(each)
                others = {name: value for name, value in values.items() if name not in {"model", "side"}}
                connection.execute(
                    put(DRIFT).values(**values).on_conflict_do_update(index_elements=("model", "side"), set_=others)
                )
