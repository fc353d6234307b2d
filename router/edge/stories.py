"""Stories of requests as they travel, and those of several workers together."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from router.core.hedging import Why
from router.pb import inference_pb2 as inference
from router.pb import story_pb2 as pb
from router.serving import stories

MOST: Final = 1000
"""Stories that are told at once."""


def told(kept: stories.Stories, wanted: pb.ExplainRequest, worker: int, wall_ns: int | None = None) -> pb.Stories:
    """What a worker remembers. `wall_ns`: Unix time at the zero of its monotonic clock, by default this process's."""
    zero = time.time_ns() - time.monotonic_ns() if wall_ns is None else wall_ns
    id_field = inference.ModelInferRequest(id=wanted.id).SerializeToString()

    def fits(story: stories.Story) -> bool:
        return (not id_field or story.id_field == id_field) and wanted.model in ("", story.model)

    found = kept.find(fits, min(wanted.last or MOST, MOST))
    oldest = kept.oldest
    return pb.Stories(
        stories=[_message(story, worker, zero) for story in found],
        kept=stories.KEPT,
        oldest_unix_ns=0 if oldest is None else zero + oldest,
    )


def together(parts: Iterable[pb.Stories], last: int) -> pb.Stories:
    """Those of several workers, newest first."""
    every = list(parts)
    found = sorted(
        (story for part in every for story in part.stories), key=lambda story: story.received_unix_ns, reverse=True
    )
    return pb.Stories(
        stories=found[: min(last or MOST, MOST)],
        kept=stories.KEPT,
        oldest_unix_ns=min([part.oldest_unix_ns for part in every if part.oldest_unix_ns], default=0),
    )


def nothing_found(wanted: pb.ExplainRequest, among: pb.Stories, now_ns: int) -> str:
    """One line for whoever asked in vain."""
    of = f"request '{wanted.id[:200]}'" if wanted.id else "a request"
    to = f" to model '{wanted.model[:200]}'" if wanted.model else ""
    if not among.oldest_unix_ns:
        age = "there is none yet"
    else:
        seconds = (now_ns - among.oldest_unix_ns) / 1e9
        age = f"the oldest is {seconds:.0f} s old" if seconds < 120 else f"the oldest is {seconds / 60:.0f} min old"
    return (
        f"no story of {of}{to} is kept: each worker keeps its newest {among.kept} of slow, degraded and failed requests"
        f" and of a sample of the rest; {age}"
    )


def _message(story: stories.Story, worker: int, zero: int) -> pb.Story:
    message = pb.Story(
        id=inference.ModelInferRequest.FromString(story.id_field).id,
        model=story.model,
        version=story.version,
        generation=story.generation,
        worker=worker,
        kept_as=story.why,
        received_unix_ns=zero + story.received,
        took_ms=(story.ended - story.received) / 1e6,
        rows=story.rows,
        served_by=story.served_by,
        served_model=story.served_model,
        fallback_reason="" if story.reason is None else story.reason.value,
        cause=story.cause,
        status=story.status.name,
        humility=story.humility,
    )
    if story.left is not None:
        # Who has less than two reserves leaves one half of the time.
        reserve = min(story.reserve, story.left)
        message.reserve_ms = reserve * 1e3
        message.deadline_ms = (story.left + reserve) * 1e3
    if story.expected is not None:
        message.expected.wait_ms, message.expected.behind = story.expected.wait * 1e3, story.expected.behind
    for facts, into in ((story.run, message.run), (story.hedge, message.hedge)):
        if facts is not None:
            into.CopyFrom(_run(facts, story.received))
    return message


def _run(facts: stories.RunFacts, received: int) -> pb.Run:
    run = pb.Run(
        waited_ms=(facts.began - received) / 1e6,
        took_ms=facts.seconds * 1e3,
        over=facts.over,
        calls=facts.calls,
        rows=facts.rows,
        session=facts.session,
        lane="inline" if facts.inline else "executor",
        loop_taken=facts.taken,
    )
    if facts.hedging is not None:
        why, delay, share, target = facts.hedging
        run.hedging.CopyFrom(
            pb.Hedging(sent=why is Why.SLOW, why=why.value, delay_ms=delay * 1e3, share=share, target=target)
        )
    return run
