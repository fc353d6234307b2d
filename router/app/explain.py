"""`router explain`: what became of a recent request."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
from google.protobuf import json_format

from router.app.admin_reach import AdminReach, admin_option
from router.app.terminal import json_option
from router.pb.story_pb2 import Run, Story


@click.command()
@click.argument("what", metavar="REQUEST_ID", default="")
@click.option(
    "--last", type=click.IntRange(1, 1000), metavar="N", help="The newest N stories; [MODEL] then says whose."
)
@admin_option
@json_option
def explain(what: str, last: int | None, reach: AdminReach, as_json: bool) -> None:
    """Tell what became of a recent request, or with --last N [MODEL] of the newest that are kept.

    Kept are all requests that were slow, degraded or failed, and a sample of the rest.
    """
    if not what and last is None:
        raise click.UsageError("give a request's id, or --last N for the newest stories")
    with reach.asked() as client:
        answer = client.explain(what) if last is None else client.last_stories(last, what)
    if as_json:
        click.echo(json_format.MessageToJson(answer, preserving_proto_field_name=True))
        return
    for story in answer.stories:
        click.echo("\n".join(tell(story)))


def tell(story: Story) -> list[str]:
    """A story for a person: whose, then what happened, in its order."""
    named = f"request '{story.id}'" if story.id else "a request without id"
    lines = [
        f"{named} to {story.model} version {story.version} (generation {story.generation}, worker {story.worker})",
        f"  {_received(story)}",
        *[f"  · {part}" for part in _parts(story)],
    ]
    return ["".join(c if c.isprintable() else " " for c in line) for line in lines]


def _received(story: Story) -> str:
    seconds, rest = divmod(story.received_unix_ns, 10**9)
    text = f"received {time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest // 10**6:03d}"
    if story.HasField("deadline_ms"):
        text += f", {_ms(story.deadline_ms)} to the deadline, {_ms(story.reserve_ms)} reserve"
    return text


def _parts(story: Story) -> Iterator[str]:
    expected = ""
    if story.HasField("expected"):
        expected = f"{_ms(story.expected.wait_ms)} expected, {_many(story.expected.behind, 'other')} before it"
    if story.HasField("run"):
        yield f"waited {_ms(story.run.waited_ms)}" + (f" ({expected})" if expected else "")
        yield from _run(story.run)
    elif story.HasField("expected"):
        yield f"never ran: {expected}"
    elif story.served_by == "cached" and not story.fallback_reason:
        yield "needed no run: a fresh answer was remembered"
    elif not story.HasField("hedge"):
        yield "never ran"
    if story.HasField("hedge"):
        yield f"the hedge ran {_ms(story.hedge.took_ms)} on session {story.hedge.session}"
    if story.cause:
        yield f"{story.fallback_reason or 'error'}: {story.cause}"
    elif story.fallback_reason:
        yield f"the model did not answer: {story.fallback_reason}"
    if story.humility:
        yield f"not to be trusted by the rules {story.humility.replace(',', ', ')}"
    yield _end(story)


def _run(run: Run) -> Iterator[str]:
    others = f" with {_many(run.calls - 1, 'other request')}" if run.calls > 1 else ""
    how = "ran" if run.over else "had run"
    yield (
        f"{how} {_ms(run.took_ms)} on session {run.session} ({run.lane}), {_many(run.rows, 'row')}{others}"
        + ("" if run.over else ", and ran on")
    )
    if run.loop_taken:
        yield "the run took so long that another thread took over the loop"
    if run.HasField("hedging"):
        hedging = run.hedging
        slow = ""
        if hedging.delay_ms:
            slow = f"the run took longer than {_ms(hedging.delay_ms)} ({hedging.share * 100:g} % of runs do not): "
        yield slow + (f"hedged on {hedging.target}" if hedging.sent else f"not hedged, {hedging.why}")


def _end(story: Story) -> str:
    took = _ms(story.took_ms)
    if story.served_by:
        by = f"{story.served_by} '{story.served_model}'" if story.served_model else story.served_by
        slow = ", which is slow" if story.kept_as == "slow" else ""
        return f"answered by {by} after {took}{slow}"
    if story.status == "CANCELLED":
        return f"the caller went away after {took}"
    return f"refused with {story.status} after {took}"


def _ms(milliseconds: float) -> str:
    """Three digits."""
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
