"""Why a file cannot be applied: each reason in one line, with its place in the file and the mend."""

from __future__ import annotations

from collections.abc import Iterator

from router.core.contrast import Contrast
from router.core.declared import short
from router.core.split import PER_CENT
from router.core.version import UNDER_TRIAL, Stage
from router.errors import InvalidRequest


def place(model: str) -> str:
    """Where a file speaks of a model."""
    return f"[models.{short(model)}]"


def conflicts(of: Contrast) -> Iterator[str]:
    """What speaks against what a file says of a model."""
    lines = (*_unknown(of), *_fights(of), *_champion(of), *_challengers(of), *_switches(of))
    return (f"{place(of.name)} {line}" for line in lines)


def _unknown(of: Contrast) -> Iterator[str]:
    there = ", ".join(sorted(of.now.stages, key=int, reverse=True)[:20]) or "none"
    named = [("champion", of.file.champion)]
    named += [(f"aliases.{name}", number) for name, number in (of.file.aliases or {}).items()]
    named += [("challengers", number) for number in of.wanted or ()]
    for key, number in named:
        if number is not None and number not in of.now.stages:
            yield f"{key}: {of.model} has no version {number}; it has {there}"


def _fights(of: Contrast) -> Iterator[str]:
    """What is under way, and would not go on as it is meant to."""
    name, wanted = of.name, of.file.champion
    if (rollout := of.rollout) is not None:
        stop = f"`router canary {name} --stop` undoes it"
        if wanted not in {None, rollout.number}:
            yield f"champion = {wanted}: a canary of version {rollout.number} is under way; {stop}"
        elif of.wanted is not None and rollout.number in of.wanted:
            yield f"challengers.{rollout.number}: a canary of this version is under way and moves its share; {stop}"
        elif of.wanted is not None and wanted is None:
            yield (
                f"challengers: version {rollout.number} is not among them, and a canary of it is under way; {stop},"
                f" or have the file say champion = {rollout.number}"
            )
    if (trial := of.trial) is not None:
        stop = f"`router trial {name} --stop` ends it"
        if of.promotes:
            yield f"champion = {wanted}: a trial of version {trial.number} is under way; {stop}"
        if trial.number in of.leaving:
            yield f"challengers: version {trial.number} is not among them, and a trial of it is under way; {stop}"
        elif (mine := (of.wanted or {}).get(trial.number)) is not None:
            key, what = f"challengers.{trial.number}", "the trial of it that is under way compares"
            if trial.paired and not mine.shadow:
                yield f"{key}: {what} what it says as a shadow; {stop}"
            elif not trial.paired and (not mine.share or mine.match):
                yield f"{key}: {what} callers who are drawn by its share, and no others; {stop}"
    if (request := of.request) is not None and wanted not in {None, request.number}:
        yield (
            f"champion = {wanted}: version {request.number} waits for approval; `router reject {request.id}` ends that"
        )


def _champion(of: Contrast) -> Iterator[str]:
    number = of.coming
    if not of.promotes or number is None or number not in of.now.stages:
        return
    stage = of.now.stages[number]
    if stage not in {Stage.READY, Stage.CHALLENGER, Stage.STANDBY}:
        yield f"champion = {number}: {_untested(of, number)}"
    if _stays_frozen(of):
        yield f"champion = {number}: {of.model} is frozen{_thaw(of)}"
    if not of.canary:
        return
    if stage is Stage.STANDBY:
        yield f'strategy = "canary": version {number} stands by, and comes back at once; say strategy = "swap"'
    if of.champion is None:
        yield f'strategy = "canary": {of.model} has no champion to compare with; say strategy = "swap"'
    shares = {n: each.share for n, each in of.wanted.items()} if of.wanted is not None else of.now.shares
    others = sum(share for other, share in shares.items() if other != number)
    needs = max(of.now.canary, of.now.shares.get(number, 0.0))
    if others and others + needs > 100:
        yield (
            f"challengers: they have {others:g} % of the requests, and a canary of version {number} needs {needs:g} %"
            " to begin; give them less"
        )


def _challengers(of: Contrast) -> Iterator[str]:
    champion, seen = of.coming or of.champion, dict[tuple[str, str], str]()
    for number in of.wanted or ():
        stage = of.now.stages.get(number)
        if stage is None:  # told already
            continue
        if number == champion:
            yield f"challengers.{number}: this version is the champion; leave one of both out"
        elif stage in {Stage.CHAMPION, Stage.STANDBY}:
            yield (
                f"challengers.{number}: this version is to stand by for a rollback and cannot be a challenger;"
                f" `router unload {of.name} {number}` and `router test {of.name} {number}` make it ready"
            )
        elif stage not in {Stage.READY, Stage.CHALLENGER}:
            yield f"challengers.{number}: {_untested(of, number)}"
        elif _stays_frozen(of) and _rises(of, number):
            yield f"challengers.{number}: {of.model} is frozen, and no share of it may rise{_thaw(of)}"
    if of.wanted and champion is None:
        yield f"challengers: {of.model} has no champion; have the file name one"
    try:
        of.shares()
    except InvalidRequest as error:
        yield f"challengers: {error}"
    for key, value, number in ((each.key, each.value, each.number) for each in of.file.matches):
        other = seen.setdefault((key, value), number)
        if other != number:
            yield f'challengers.{number}: {key} = "{value}" is what version {other} matches; leave one of both out'


def _switches(of: Contrast) -> Iterator[str]:
    if of.file.fallback and not of.now.switched and not of.now.can_switch:
        yield f"fallback = true: {of.model} has none; set fallback.chain in its model.toml"
    if of.file.frozen is False and of.frozen and of.held:
        yield "frozen = false: all models are frozen; have the file say frozen = false above its tables"


def _stays_frozen(of: Contrast) -> bool:
    return of.held or (of.frozen and of.file.frozen is not False)


def _thaw(of: Contrast) -> str:
    if of.held:
        return ", as all models are; have the file say frozen = false above its tables, or `router thaw`"
    return f"; have the file say frozen = false for it, or `router thaw {of.name}`"


def _rises(of: Contrast, number: str) -> bool:
    """Whether a challenger is to have more than it has."""
    fresh = [each for each in of.file.matches if each.number == number and each not in of.now.matches]
    share = of.wanted[number].share if of.wanted is not None else 0.0
    return bool(fresh) or round((share - of.now.shares.get(number, 0.0)) * PER_CENT) > 0


def _untested(of: Contrast, number: str) -> str:
    stage, test = of.now.stages[number], f"`router test {of.name} {number}`"
    what = f"version {number} of {of.model}"
    if stage in UNDER_TRIAL:
        return f"{what} is {stage}; wait for its verdict (`router watch {of.name}`)"
    if stage is Stage.DRAINING:
        return f"{what} is draining; try again in a moment"
    return f"{what} {'has failed' if stage is Stage.FAILED else 'has not passed its gates'}; {test} first"
