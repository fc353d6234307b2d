"""The admin service from the other side, for the command line."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from router.edge.address import address
from router.edge.listener import Listener, listener
from router.errors import NotReady, RouterError, SettingsError, Status
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc
from router.pb.story_pb2 import ExplainRequest, Stories

if TYPE_CHECKING:
    from router.core.faults import Fault

CHANGE_S: Final = 600.0
"""A change waits for the one before it, and both may load models."""
TRIAL_S: Final = 86_400.0
"""A test or a warm-up has a verdict by then: a warm-up waits for live traffic."""

_OTHER_PORT: Final = "name the server's admin port with --admin HOST:PORT"
_GONE: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""What gRPC says, and not the server, where no answer came; a server that stops cancels what takes too long."""
_LIMITS: Final = [("grpc.max_receive_message_length", 64 << 20)]


class AdminError(RouterError):
    """What the server answered instead. `reason` is the name of its error, `field` what of the request was wrong."""

    def __init__(self, status: Status, message: str, reason: str = "", field: str = "") -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # the class names it for all other errors
        self.reason = reason
        self.field = field


@dataclass(frozen=True, slots=True)
class Tls:
    """Whose server is trusted, and this client's own certificate; PEM. `context` is the same for a plain socket."""

    context: ssl.SSLContext
    ca: bytes
    certificate: bytes | None = None
    key: bytes | None = None


class AdminClient:
    """One connection to the admin port. Methods raise NotReady when nobody answers, AdminError on refusal.

    `seconds` is how long a question may take. Raises SettingsError when `target` is not HOST:PORT or when the `token`
    can be none.
    """

    def __init__(self, target: str, seconds: float = 5.0, token: str = "", tls: Tls | None = None) -> None:
        self._target = address(target)
        self._seconds = seconds
        self._tls = tls
        self._metadata: list[tuple[str, str]] = []
        if token:
            if not (token.isascii() and token.isprintable()) or " " in token:
                raise SettingsError(
                    "the token holds characters that no token has; give it as `router token` printed it"
                )
            self._metadata.append(("authorization", f"Bearer {token}"))
        if tls is None:
            self._channel = grpc.insecure_channel(target, _LIMITS)
        else:
            credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
            self._channel = grpc.secure_channel(target, credentials, _LIMITS)
        self._stub: Any = admin_pb2_grpc.AdminStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and with it whatever is asked on it."""
        self._channel.close()

    def other(self, stub: Callable[[grpc.Channel], Any], method: str, request: Any, *, changes: bool = False) -> Any:
        """Ask a method of another service of the admin port, by the stub made for it; the answer is its message.

        `changes`: it does something, so that it may take longer, and is not said to be undone when no answer came.
        """
        return self._ask(getattr(stub(self._channel), method), request, CHANGE_S if changes else None, changes=changes)

    # ---- the server ----

    def status(self) -> pb.Status:
        """The processes and what they do."""
        answer: pb.Status = self._ask(self._stub.GetStatus, pb.GetStatusRequest())
        return answer

    def models(self, name: str = "") -> pb.ListModelsResponse:
        """The table of routes that serves now."""
        answer: pb.ListModelsResponse = self._ask(self._stub.ListModels, pb.ListModelsRequest(name=name))
        return answer

    def explain(self, request_id: str) -> Stories:
        """What became of the requests of this id, newest first."""
        answer: Stories = self._ask(self._stub.Explain, ExplainRequest(id=request_id))
        return answer

    def last_stories(self, last: int, model: str = "") -> Stories:
        """The newest stories, of one model or of all."""
        answer: Stories = self._ask(self._stub.Explain, ExplainRequest(last=last, model=model))
        return answer

    def watch(self, model: str = "", seconds: float | None = None) -> Generator[pb.Event, None, None]:
        """What happens from now on, until `seconds` are over if they are given; the first event is `hello`."""
        call = self._stub.Watch(pb.WatchRequest(model=model), timeout=seconds, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            if seconds is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return
            raise self._refusal(error) from error
        finally:
            call.cancel()

    # ---- the life of versions ----

    def versions(self, model: str = "") -> pb.ListVersionsResponse:
        """Versions and where they stand."""
        answer: pb.ListVersionsResponse = self._ask(self._stub.ListVersions, pb.ListVersionsRequest(model=model))
        return answer

    def load(self, model: str, version: str = "", reason: str = "") -> pb.Changed:
        """Serve a version, or what the policy chooses."""
        return self._change(self._stub.LoadModel, pb.LoadModelRequest(model=model, version=version, reason=reason))

    def unload(self, model: str, version: str = "", reason: str = "") -> pb.Changed:
        """Serve a version, or the whole model, no more."""
        return self._change(self._stub.UnloadModel, pb.UnloadModelRequest(model=model, version=version, reason=reason))

    def test(self, model: str, version: str, reason: str = "") -> pb.Report:
        """Put a version through its gates; waits for the verdict."""
        request = pb.TestVersionRequest(model=model, version=version, reason=reason)
        answer: pb.Report = self._ask(self._stub.TestVersion, request, TRIAL_S, changes=True)
        return answer

    def warm(self, model: str, version: str, reason: str = "") -> pb.Report:
        """Run a version beside the champion; waits for the verdict."""
        request = pb.WarmVersionRequest(model=model, version=version, reason=reason)
        answer: pb.Report = self._ask(self._stub.WarmVersion, request, TRIAL_S, changes=True)
        return answer

    def plan(self, model: str, version: str) -> pb.PromotionPlan:
        """What a promotion would do."""
        request = pb.PlanPromotionRequest(model=model, version=version)
        answer: pb.PromotionPlan = self._ask(self._stub.PlanPromotion, request)
        return answer

    def promote(
        self,
        model: str,
        version: str,
        reason: str = "",
        expected: str = "",
        override: bool = False,
        strategy: str = "",
    ) -> pb.Changed:
        """Make a version champion, where `expected` is given only if that is the champion now."""
        request = pb.PromoteRequest(
            model=model,
            version=version,
            strategy=strategy,
            expected_champion=expected,
            override=override,
            reason=reason,
        )
        return self._change(self._stub.Promote, request)

    def rollback(self, model: str, version: str = "", reason: str = "", expected: str = "") -> pb.Changed:
        """Go back to a version; without one to the standby."""
        request = pb.RollbackRequest(model=model, version=version, expected_champion=expected, reason=reason)
        return self._change(self._stub.Rollback, request)

    def freeze(self, model: str, frozen: bool, reason: str = "") -> None:
        """Stop promotions of a model, or of all, or let them go on."""
        request = pb.FreezeRequest(model=model, frozen=frozen, reason=reason)
        self._ask(self._stub.Freeze, request, CHANGE_S, changes=True)

    def set_alias(self, model: str, alias: str, version: str, reason: str = "") -> pb.Changed:
        """Point an alias at a version; without one it is removed."""
        request = pb.SetAliasRequest(model=model, alias=alias, version=version, reason=reason)
        return self._change(self._stub.SetAlias, request)

    def set_fallback(self, model: str, on: bool, reason: str = "") -> pb.SetFallbackResponse:
        """Switch a model to its fallback, or back."""
        request = pb.SetFallbackRequest(model=model, on=on, reason=reason)
        answer: pb.SetFallbackResponse = self._ask(self._stub.SetFallback, request, CHANGE_S, changes=True)
        return answer

    # ---- challengers, trials, canaries, approvals ----

    def challenge(
        self,
        model: str,
        version: str,
        share: float = 0.0,
        shadow: bool = False,
        matches: Iterable[pb.MetadataMatch] = (),
        reason: str = "",
    ) -> pb.Changed:
        """Make a version a challenger: with a share in percent, as a shadow, or of what metadata hold."""
        request = pb.ChallengeRequest(
            model=model, version=version, share=share, shadow=shadow, matches=matches, reason=reason
        )
        return self._change(self._stub.Challenge, request)

    def set_split(
        self, model: str, shares: Mapping[str, float], matches: Iterable[pb.MetadataMatch] = (), reason: str = ""
    ) -> pb.Changed:
        """Divide a model's requests: shares in percent, of all challengers that are to have one."""
        request = pb.SetSplitRequest(model=model, shares=shares, matches=matches, reason=reason)
        return self._change(self._stub.SetSplit, request)

    def withdraw(self, model: str, version: str, reason: str = "") -> pb.Changed:
        """Make a challenger one no longer: it is ready then."""
        return self._change(self._stub.Withdraw, pb.WithdrawRequest(model=model, version=version, reason=reason))

    def start_trial(self, model: str, version: str, reason: str = "") -> pb.Case:
        """Find out whether a challenger is better than the champion."""
        request = pb.StartTrialRequest(model=model, version=version, reason=reason)
        return self._case(self._stub.StartTrial, request)

    def stop_trial(self, model: str, reason: str = "") -> pb.Case:
        """End a trial without a verdict."""
        return self._case(self._stub.StopTrial, pb.StopTrialRequest(model=model, reason=reason))

    def stop_rollout(self, model: str, reason: str = "") -> pb.Case:
        """Undo a canary that is under way."""
        return self._case(self._stub.StopRollout, pb.StopRolloutRequest(model=model, reason=reason))

    def approve(self, case: int, digest: str = "", reason: str = "") -> pb.Case:
        """Agree to what was asked for, where `digest` is given only if it is for that version."""
        return self._case(self._stub.Approve, pb.ApproveRequest(id=case, digest=digest, reason=reason))

    def reject(self, case: int, reason: str) -> pb.Case:
        """Do not agree."""
        return self._case(self._stub.Reject, pb.RejectRequest(id=case, reason=reason))

    def cases(
        self, model: str = "", version: str = "", kind: str = "", last: int = 0, only_open: bool = False
    ) -> list[pb.Case]:
        """What is under way, or was, newest first."""
        request = pb.ListCasesRequest(model=model, version=version, kind=kind, last=last, open=only_open)
        answer: pb.ListCasesResponse = self._ask(self._stub.ListCases, request)
        return list(answer.cases)

    def diff(self, text: str) -> pb.ApplyResponse:
        """What a file declares, against what is."""
        answer: pb.ApplyResponse = self._ask(self._stub.Diff, pb.ApplyRequest(text=text), CHANGE_S)
        return answer

    def apply(self, text: str, reason: str = "") -> pb.ApplyResponse:
        """Make it so."""
        request = pb.ApplyRequest(text=text, reason=reason)
        answer: pb.ApplyResponse = self._ask(self._stub.Apply, request, CHANGE_S, changes=True)
        return answer

    def evidence(self, model: str, version: str) -> str:
        """All that is known of why a version serves, or does not: JSON."""
        request = pb.GetEvidenceRequest(model=model, version=version)
        answer: pb.Evidence = self._ask(self._stub.GetEvidence, request, CHANGE_S)
        return str(answer.json)

    # ---- what was kept ----

    def reports(self, model: str, version: str = "", kind: str = "", last: int = 0) -> list[pb.Report]:
        """What versions were put through, newest first."""
        request = pb.ListReportsRequest(model=model, version=version, kind=kind, last=last)
        answer: pb.ListReportsResponse = self._ask(self._stub.ListReports, request)
        return list(answer.reports)

    def audit(self, model: str = "", last: int = 0) -> pb.ListAuditResponse:
        """Who did what."""
        answer: pb.ListAuditResponse = self._ask(self._stub.ListAudit, pb.ListAuditRequest(model=model, last=last))
        return answer

    def verify_audit(self, head: str = "") -> pb.VerifyAuditResponse:
        """Whether the audit log is whole, and holds a head that was noted outside."""
        request = pb.VerifyAuditRequest(head=head)
        answer: pb.VerifyAuditResponse = self._ask(self._stub.VerifyAudit, request, CHANGE_S)
        return answer

    def submit_actuals(self, model: str, actuals: Iterable[pb.Actual]) -> pb.SubmitActualsResponse:
        """Say what came true for earlier predictions."""
        request = pb.SubmitActualsRequest(model=model, actuals=actuals)
        answer: pb.SubmitActualsResponse = self._ask(self._stub.SubmitActuals, request, CHANGE_S, changes=True)
        return answer

    # ---- faults and crashes ----

    def faults(self, model: str = "") -> dict[str, tuple[Fault, ...]]:
        """What is made to go wrong now, by model."""
        from router.edge.faults import from_messages  # noqa: PLC0415  # it needs the settings of models

        answer: pb.ListFaultsResponse = self._ask(self._stub.ListFaults, pb.ListFaultsRequest(model=model))
        try:
            return {each.model: from_messages(each.faults) for each in answer.models}
        except ValueError as error:
            raise AdminError(Status.INTERNAL, "the server tells of faults that this release does not know") from error

    def set_faults(self, model: str, faults: Iterable[Fault]) -> int:
        """Make the runs of a model fail; in how many workers they do now. Without faults it is well."""
        from router.edge.faults import to_messages  # noqa: PLC0415  # it needs the settings of models

        request = pb.SetFaultsRequest(model=model, faults=to_messages(faults))
        answer: pb.SetFaultsResponse = self._ask(self._stub.SetFaults, request)
        return answer.workers

    def quarantine(self) -> pb.ListQuarantineResponse:
        """The requests that were in runs when workers crashed."""
        answer: pb.ListQuarantineResponse = self._ask(self._stub.ListQuarantine, pb.ListQuarantineRequest())
        return answer

    def clear_quarantine(self) -> int:
        """Forget them; how many there were."""
        answer: pb.ClearQuarantineResponse = self._ask(
            self._stub.ClearQuarantine, pb.ClearQuarantineRequest(), CHANGE_S, changes=True
        )
        return answer.cleared

    # ---- asking ----

    def _change(self, method: Any, request: Any) -> pb.Changed:
        answer: pb.Changed = self._ask(method, request, CHANGE_S, changes=True)
        return answer

    def _case(self, method: Any, request: Any) -> pb.Case:
        answer: pb.Case = self._ask(method, request, CHANGE_S, changes=True)
        return answer

    def _ask(self, method: Any, request: Any, seconds: float | None = None, *, changes: bool = False) -> Any:
        try:
            return method(request, timeout=seconds or self._seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._refusal(error, changes=changes) from error

    def _refusal(self, error: Any, *, changes: bool = False) -> RouterError:
        from router.edge.error_details import told  # noqa: PLC0415  # what goes well needs none of google.rpc

        code, said = error.code(), told(error)
        if said is None and code in _GONE:
            after = "; whether the change was made, `router versions` tells" if changes and _may_be_done(error) else ""
            return NotReady(_absent(self._target, self._tls) + after)
        if said is None and code is grpc.StatusCode.UNIMPLEMENTED:
            return AdminError(Status.UNIMPLEMENTED, f"{self._target} is no admin port: {_OTHER_PORT}")
        message = error.details() or code.name
        if code is grpc.StatusCode.UNAUTHENTICATED and "--token" not in message:
            message += "; give a token with --token or in ROUTER_TOKEN, or a certificate with --admin-cert"
        return AdminError(Status(code.value[0]), message, said.reason if said else "", said.field if said else "")


def _may_be_done(error: Any) -> bool:
    """Whether the request may have arrived: not when there was no connection at all."""
    return "failed to connect" not in (error.details() or "").lower()


def _absent(target: str, tls: Tls | None) -> str:
    """Why nobody answers. The controller, which keeps this port, may be gone while the workers serve on."""
    match listener(target, tls.context if tls else None):
        case Listener.NOBODY:
            return (
                f"nothing listens at {target}: start a server with `router serve`, or {_OTHER_PORT}; the controller of"
                " a server that runs is back within seconds"
            )
        case Listener.TLS if tls is None:
            return f"{target} serves with TLS: name the authority of its certificate (PEM) with --admin-ca FILE"
        case Listener.PLAIN if tls is not None:
            return f"{target} serves without TLS: leave --admin-ca, --admin-cert and --admin-key out"
        case Listener.UNTRUSTED:
            return f"the certificate of {target} is for another name or of another authority: is --admin-ca right?"
        case Listener.MUTUAL_TLS if tls is None or tls.certificate is None:
            ca = "--admin-ca FILE, " if tls is None else ""
            return f"{target} asks for a certificate of yours: give {ca}--admin-cert FILE and --admin-key FILE"
        case Listener.MUTUAL_TLS:
            return f"{target} does not take your certificate: is --admin-cert of the authority that it trusts?"
        case Listener.PLAIN | Listener.TLS | Listener.SILENT:
            return (
                f"the controller at {target} does not answer, inference goes on without it: ask again, or see its log"
            )
        case _:
            return f"{target} is no admin port: {_OTHER_PORT}"
