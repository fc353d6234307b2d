"""Predictions as they travel from a worker to the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from router.core.prediction import Form, Sheet, Value
from router.pb import link_pb2 as pb
from router.serving.predictions import Handed


def to_message(handed: Handed) -> pb.Predictions:
    """A sheet with its number. Labels that do not fit a signed integer travel as text."""
    sheet = handed.sheet
    message = pb.Predictions(
        number=handed.number,
        model=sheet.model,
        version=sheet.version,
        generation=sheet.generation,
        served_by=sheet.served_by,
        form=sheet.form.value,
        ids=sheet.ids,
        rows=sheet.rows,
        at_ns=sheet.at_ns,
        scores=sheet.scores,
    )
    if sheet.form is Form.NUMBER:
        message.numbers.extend(sheet.values)  # type: ignore[arg-type]  # by the form
    elif sheet.form is Form.TEXT:
        message.texts.extend(sheet.values)  # type: ignore[arg-type]
    elif all(-(2**63) <= value < 2**63 for value in sheet.values):  # type: ignore[operator]
        message.integers.extend(sheet.values)  # type: ignore[arg-type]
    else:
        message.texts.extend(map(str, sheet.values))
    return message


def from_message(message: pb.Predictions) -> Sheet:
    """The sheet in a message."""
    form = Form(message.form)
    values: Sequence[Value] = list(message.numbers) or list(message.integers) or list(message.texts)
    if form is Form.INTEGER and message.texts:
        values = [int(value) for value in message.texts]
    return Sheet(
        message.model,
        message.version,
        message.generation,
        message.served_by,
        form,
        list(message.ids),
        list(message.rows),
        list(message.at_ns),
        values,
        list(message.scores),
    )
