"""On what terms a trial can begin: where its comparisons come from, or why there would never be any."""

from __future__ import annotations

from router.control.records import VersionRecord
from router.core.access import Role
from router.core.contest import Contest
from router.core.prediction import Form, form_of, predicted
from router.core.table import Route, Version
from router.core.trial import Judge
from router.errors import Refused


def contest_of_route(route: Route, record: VersionRecord, champion: VersionRecord, role: Role) -> Contest:
    """The trial of a challenger as its model's settings and the division of its requests have it.

    Raises Refused with the mend where it could not come to a verdict.
    """
    model, number = record.model, record.number
    what = f"version {number} of model '{model}'"
    if not route.settings.ledger.enabled:
        raise Refused(
            f"model '{model}' keeps no ledger of its predictions, by which a trial is decided: write `[ledger]` and"
            " `enabled = true` into its model.toml, and have the server look at it again"
        )
    form, other = (_form(route, each) for each in (champion.number, number))
    if form is None or other is None:
        raise Refused(
            f"no version of model '{model}' says what its predictions are: name the output that holds them under"
            ' `[ledger]` in its model.toml, as in `output = "label"`'
        )
    if form is not other:
        raise Refused(f"{what} predicts another kind of thing ({other}) than its champion ({form}): nothing to compare")
    paired, share = number in route.shadows, route.split.shares.get(number, 0.0)
    if not paired and not share:
        raise Refused(
            f"{what} has neither a share of the requests nor copies of them, so nothing would be compared: `router"
            f" challenge {model} {number} --shadow`, or `--share PERCENT`"
        )
    if not paired and share >= 100:
        raise Refused(f"{what} has all requests, so the champion has none to compare with: give it a smaller share")
    if not paired and (match := next((each for each in route.split.matches if each.number == number), None)):
        raise Refused(
            f"{what} has the callers with {match.key} = {match.value}, who are no fair sample: make it a shadow, or"
            f" take that match away"
        )
    trial = route.settings.trial
    judge = Judge.LABEL if form is not Form.NUMBER else Judge.CLOSER if trial.within is None else Judge.WITHIN
    if judge is Judge.CLOSER and not paired:
        raise Refused(
            f"{what} and its champion answer different requests with numbers: say under `[trial]` in model.toml how"
            " close is right, as in `within = 0.5`, or make it a shadow"
        )
    return Contest(champion.number, champion.digest, number, paired, judge, trial, role)


def how(contest: Contest, route: Route) -> str:
    """Where the comparisons of a trial come from, for a person."""
    number, champion = contest.challenger, contest.champion
    true = f"what came true is to be submitted (`router actuals {route.model} FILE`)"
    if contest.paired:
        return (
            f"both versions run the same requests, version {number} as a shadow of version {champion}, and are compared"
            f" on each; {true}"
        )
    share = route.split.shares.get(number, 0.0)
    return (
        f"{share:g} % of the requests are answered by version {number}, by lot, and each is compared with those that"
        f" version {champion} answers meanwhile; requests with one route_key stay together, so this needs many keys;"
        f" {true}"
    )


def _form(route: Route, number: str) -> Form | None:
    version: Version | None = route.versions.get(number)
    spec = None if version is None else predicted(route.settings.ledger, version.signature.outputs)
    return None if spec is None else form_of(spec)
