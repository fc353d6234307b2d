"""The count after an outage: what is lost, what came twice, and under which ids."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.receiver import Arrival, Manner
from loadtest.tally import Act, Live, Record, Tally, instant, tally, told_ms
from router.control.cloud_event import Told, body

ACTS = [Act(f"act {number}", "freeze", float(number)) for number in range(1, 5)]
RECORDS = [Record(number, f"hash {number}", f"act {number}") for number in range(1, 5)]
LIVE = [Live("swapped", "value", "", f"generation {number} serves", number, 1000 * number) for number in range(1, 4)]


def came(event: dict[str, Any], manner: Manner = Manner.TAKES) -> Arrival:
    """An event that came, genuine."""
    return Arrival(0.0, manner, genuine=True, named=True, event=event)


def of_record(record: Record, name: str = "", model: str = "value") -> dict[str, Any]:
    """The event that a record becomes."""
    facts = {"reason": record.reason, "hash": record.hash}
    data = {"kind": "frozen", "model": model, "version": "", "text": "", "audit": record.sequence, "facts": facts}
    name = name or f"audit {record.sequence}"
    return {"id": name, "time": "1970-01-01T00:00:00.000Z", "subject": model, "data": data}


def of_live(live: Live, name: str = "") -> dict[str, Any]:
    """The event that something told live becomes."""
    data = {"kind": live.kind, "model": live.model, "version": live.version, "text": live.text}
    data |= {"generation": live.generation, "facts": {}}  # type: ignore[dict-item]
    return {"id": name or f"live {live.ms}", "time": f"1970-01-01T00:00:{live.ms // 1000:02}.000Z", "data": data}


ALL = [came(of_record(record)) for record in RECORDS] + [came(of_live(live)) for live in LIVE]


def counted(arrivals: list[Arrival], acts: list[Act] = ACTS, **more: Any) -> Tally:
    """Against all that was to come."""
    return tally(acts, RECORDS, LIVE, arrivals, **more)


@settings(max_examples=50)
@given(st.permutations(ALL), st.lists(st.sampled_from(ALL)))
def test_nothing_is_lost_where_all_came_in_whatever_order_and_however_often(
    once: list[Arrival], again: list[Arrival]
) -> None:
    """Twice under one id is no fault, and is counted."""
    found = counted(once + again)
    assert found.kept
    assert (found.acts, found.records, found.live, found.received) == (4, 4, 3, 7)
    assert found.twice == len({each.event["id"] for each in again})


def test_in_order_nothing_is_overtaken() -> None:
    """Another subject is no matter."""
    assert counted(ALL).overtaken == 0
    turned = [came(of_record(RECORDS[1])), came(of_record(RECORDS[0])), came(of_record(RECORDS[1]))]
    assert counted(turned).overtaken == 1
    assert counted([turned[0], came(of_record(RECORDS[0], model="tiny"))]).overtaken == 0


def test_an_act_without_an_event_is_lost() -> None:
    """Both by its reason and by its record."""
    found = counted(ALL[1:])
    assert (found.acts_missing, found.records_missing, found.kept) == (("act 1",), (1,), False)


def test_what_a_receiver_failed_to_take_or_did_not_acknowledge_has_still_to_come() -> None:
    """It is tried again; where it was taken without a word, it came twice then."""
    event = ALL[0].event
    for manner, twice in ((Manner.FAILS, 0), (Manner.SILENT, 1)):
        tried = Arrival(0.0, manner, genuine=True, named=True, event=event)
        assert counted([tried, *ALL[1:]]).acts_missing == ("act 1",)
        found = counted([tried, *ALL])
        assert (found.kept, found.twice, found.tries) == (True, twice, 8)


def test_one_event_under_two_ids_is_a_fault() -> None:
    """Of an act or told live: whoever leaves out known ids would take it for another one."""
    for more in (of_record(RECORDS[0], "another"), of_live(LIVE[0], "another")):
        found = counted([*ALL, came(more)])
        assert "another" in found.renamed
        assert len(found.renamed) == 2
        assert not found.kept


def test_two_events_under_one_id_are_a_fault() -> None:
    """The second one would be left out."""
    found = counted([*ALL, came(of_live(LIVE[0], "live 2000"))])
    assert (found.altered, found.kept) == (("live 2000",), False)


def test_an_act_that_the_log_does_not_know_is_a_fault() -> None:
    """Of no record, or of another one under its number."""
    for record in (Record(9, "hash 9", ""), replace(RECORDS[0], hash="another")):
        found = counted([*ALL, came(of_record(record, "strange"))])
        assert (found.unknown, found.kept) == (("strange",), False)


def test_what_is_not_genuine_has_not_come() -> None:
    """It is counted, and nothing of it is believed: it may hold anything."""
    first = ALL[0]
    for forged in (replace(first, genuine=False), replace(first, named=False), replace(first, genuine=False, event={})):
        found = counted([forged, *ALL[1:]])
        assert (found.forged, found.acts_missing, found.kept) == (1, ("act 1",), False)


def test_acts_that_were_not_acknowledged_are_told_where_they_were_done() -> None:
    """Nobody was promised them; what the log has is to come all the same."""
    acts = [replace(ACTS[0], error="nobody answers"), *ACTS[1:], Act("act 9", "thaw", 9.0, "nobody answers")]
    found = counted(ALL, acts)
    assert (found.acts, found.unanswered, found.unanswered_done, found.kept) == (3, 2, 1, True)
    assert counted(ALL[1:], acts).records_missing == (1,)


def test_what_was_told_live_is_lost_unless_it_was_in_the_moment_before_a_kill() -> None:
    """Then it is counted apart: it had not been stored yet."""
    found = counted(ALL[:-1])
    assert (found.live_lost, found.live_at_a_kill, found.kept) == (("swapped: generation 3 serves",), 0, False)
    found = counted(ALL[:-1], kills=[3.4])
    assert (found.live_lost, found.live_at_a_kill, found.kept) == ((), 1, True)
    assert counted(ALL[:-1], kills=[2.9, 3.6]).live_lost


@settings(max_examples=50)
@given(st.floats(0, 4e9))
def test_an_instant_is_the_same_from_both_sides(seconds: float) -> None:
    """What the watcher saw, and what the event says: to the millisecond."""
    event = json.loads(body(Told("1", seconds, "drift"), "/router"))
    assert round(instant(event) * 1000) == told_ms(seconds)
