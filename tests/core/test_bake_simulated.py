"""How often a version as good as the champion is sent back, and how soon one that turns bad is: by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from router.core.bake import BACK, GROUP, NOT_COMPARED, Bake, Compared, Instant, breaches, found, level
from router.core.vitals import Vitals
from router.version_settings import CanarySettings
from tests.core.bake_traffic import Arm, Array, Bad, divided, weather

SETTINGS = CanarySettings()
INTERVALS = round(SETTINGS.bake_seconds / SETTINGS.check_seconds)
PLANNED = INTERVALS * len(SETTINGS.steps)


def vitals(arm: Arm, canary: int, upto: int) -> Vitals:
    """What the arm has had so far in its step; the arm's counts are sums over its intervals."""
    if not upto:
        return Vitals()
    at = (canary, upto - 1)
    return Vitals(int(arm.requests[at]), int(arm.failures[at]), int(arm.fallbacks[at]), tuple(arm.buckets[at].tolist()))


def bake(ours: Arm, theirs: Arm, canary: int, upto: int, same: Array | None = None, rows: int = 0) -> Bake:
    """The bake at the end of that interval, as the look after each of them has made it."""
    instants: list[Instant] = []
    for at in (0, *range(max(1, upto - BACK[-1]), upto + 1)):
        alike = NOT_COMPARED
        if same is not None:
            alike = Compared(rows * at, {"label": (rows * at, int(same[canary, :at].sum()))})
        ours_yet, theirs_yet = vitals(ours, canary, at), vitals(theirs, canary, at)
        instants.append(Instant(at * SETTINGS.check_seconds, ours_yet, theirs_yet, alike))
    return Bake(instants[0], tuple(instants[-BACK[-1] - 1 :]))


def suspects(ours: Arm, theirs: Arm) -> Array:
    """Where a breach is not out of the question: canaries and ends of intervals.

    A share of the candidate's, in any view, that lies more than 3.6 standard deviations above what it may be: rarer by
    chance than a breach has to be, also where nearly all requests are the candidate's and none of the control's hit.
    """
    least = np.zeros(ours.requests.shape, bool)
    used = np.flatnonzero((ours.buckets + theirs.buckets)[:, -1].sum(0))
    used = slice(used[0], used[-1] + 1)
    part = np.log2(SETTINGS.max_p99_ratio)
    sums = [[arm.requests, arm.failures, arm.fallbacks, arm.buckets[..., used]] for arm in (ours, theirs)]
    for back in (*BACK, INTERVALS):
        (n, bad, other, times), (m, control_bad, control_other, control_times) = [
            [each - np.concatenate((np.zeros_like(each[:, :back]), each[:, :-back]), 1) for each in arm] for arm in sums
        ]
        least |= _apart(bad, n, control_bad + SETTINGS.max_error_rate * m, m)
        least |= _apart(other, n, control_other + SETTINGS.max_fallback_rate * m, m)
        over, control_over = [each[..., ::-1].cumsum(-1)[..., ::-1] for each in (times, control_times)]
        late = np.maximum(control_over[..., :-1], 0.5) ** part * np.maximum(control_over[..., 1:], 0.5) ** (1 - part)
        least |= _apart(over[..., 1:], over[..., :1], late, control_over[..., :1], GROUP).any(-1)
    return np.argwhere(least)


def _apart(hits: Array, of: Array, control_hits: Array, control_of: Array, groups: int = 1) -> Array:
    whole = np.maximum(of + control_of, 1)
    share = np.minimum((hits + control_hits) / whole, 1.0)
    spread = np.sqrt(groups * share * (1 - share) * of * control_of / whole)
    apart: Array = hits - of * share > 3.6 * spread + 1e-9
    return apart


def sent_back(random: np.random.Generator, per_second: Array) -> Array:
    """At which look each whole canary of a candidate that is as good is sent back; 0: it is not.

    `per_second`: requests of the model, by canary.
    """
    looks = np.zeros(len(per_second), int)
    earlier: list[Arm] = []
    for step, percent in enumerate(SETTINGS.steps):
        share = min(percent, 100 - SETTINGS.control) / 100
        sky = weather(random, INTERVALS, per_second * SETTINGS.check_seconds)
        ours, theirs = divided(random, sky, share)
        for canary, interval in suspects(ours, theirs):
            if looks[canary]:
                continue
            look = step * INTERVALS + interval + 1
            made = bake(ours, theirs, canary, interval + 1)
            before = sum((vitals(each, canary, INTERVALS) for each in earlier), Vitals()) if share > 0.5 else None
            if breaches(found(made, SETTINGS, level(look, PLANNED, SETTINGS.alpha), "1", before)):
                looks[canary] = look
        if share <= 0.5:
            earlier.append(theirs)
    return looks


def intervals_until_caught(
    random: np.random.Generator, times: int, share: float, per_second: float, bad: Bad, within: int
) -> Array:
    """How many intervals a candidate is bad before it is sent back, in the middle of a bake; 0: not within so many.

    The candidate has a share of the requests, `per_second` of its own; until then it is as good as the champion. At
    the strictest look that is planned.
    """
    good = 8
    caught = np.zeros(times, int)
    sky = weather(random, good + within, np.full(times, per_second * SETTINGS.check_seconds / share), calm=True)
    turned = np.arange(good + within) >= good
    ours, theirs = divided(random, sky, share, bad, turned)
    copies = round(per_second * SETTINGS.check_seconds * SETTINGS.control / 100)
    same = random.binomial(copies, 0.99 - np.where(turned, bad.apart, 0.0), (times, good + within))
    for canary in range(times):
        for upto in range(good + 1, good + within + 1):
            made = bake(ours, theirs, canary, upto, same, copies)
            if breaches(found(made, SETTINGS, level(PLANNED, PLANNED, SETTINGS.alpha), "1")):
                caught[canary] = upto - good
                break
    return caught


def test_a_version_that_is_as_good_is_hardly_ever_sent_back() -> None:
    """Of 1000 whole canaries by the default settings at most 10, at 20 to 1000 requests a second that come in bursts,
    on a machine that stalls, with failures and fallbacks that come in bursts as well and by twos."""
    random = np.random.default_rng(6)
    looks = sent_back(random, np.exp(random.uniform(np.log(20), np.log(1000), 1000)))
    assert (looks > 0).sum() <= 10


TURNED_BAD = [Bad(errors=0.05), Bad(fallbacks=0.05), Bad(slower=2.0), Bad(apart=0.9)]


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
@pytest.mark.parametrize("bad", TURNED_BAD, ids=["errors", "fallbacks", "slow", "shifted"])
def test_a_version_that_turns_bad_is_caught_at_the_first_check(bad: Bad, share: float) -> None:
    """After a whole interval of 5 s at 200 requests a second of its own, 100 times of 100."""
    caught = intervals_until_caught(np.random.default_rng(7), 100, share, 200.0, bad, 1)
    assert (caught == 1).sum() == 100


@pytest.mark.parametrize("bad", TURNED_BAD, ids=["errors", "fallbacks", "slow", "shifted"])
def test_with_little_traffic_it_takes_longer(bad: Bad) -> None:
    """At 10 requests a second of its own, a quarter of all: within two minutes, 20 times of 20."""
    caught = intervals_until_caught(np.random.default_rng(8), 20, 0.25, 10.0, bad, 24)
    assert (caught > 0).all()
    assert np.median(caught) > 1


def test_the_last_step_has_little_control() -> None:
    """Where 5 % are left to the old champion: at 200 requests a second of the candidate within 75 s, 20 times of 20."""
    for bad in TURNED_BAD:
        caught = intervals_until_caught(np.random.default_rng(9), 20, 0.95, 200.0, bad, 15)
        assert (caught > 0).all()
