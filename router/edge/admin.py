"""The admin service, for operators and their tools."""

# ruff: noqa: N802, ARG002  # methods have the protocol's names and arguments

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final

from grpc import aio

from router.control.faults import FaultBoard
from router.core.fingerprint import names
from router.edge.access import Access, actor_of
from router.edge.admin_actuals import Actuals
from router.edge.admin_challenge import Challenges
from router.edge.admin_guard import Guard
from router.edge.admin_records import Records
from router.edge.admin_sources import Database, Ledger, Lifecycle
from router.edge.admin_versions import Versions
from router.edge.admin_watch import Watching
from router.edge.faults import checked, to_messages
from router.edge.stories import nothing_found
from router.edge.tables import route_to_message
from router.edge.transport import Credentials, cannot_open, server_credentials
from router.errors import NotFound, NotReady, Refused
from router.model_settings import ModelSettings
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc
from router.pb.faults_pb2 import ModelFaults
from router.pb.story_pb2 import ExplainRequest, Stories
from router.serving.quarantine import Quarantine, Suspect

PATIENCE_S: Final = 5.0
"""What the supervisor may need to forget the suspects."""

Context = aio.ServicerContext[Any, Any]


class Admin(admin_pb2_grpc.AdminServicer):
    """Answers from the lifecycle, from `status`, which describes the processes, from the quarantine, and from what
    workers `explain`. Methods raise RouterErrors: `serve_admin` puts a guard around them.

    Without `faults` none may be set; without `database` there are neither reports nor an audit log, without `ledger`
    no predictions that actuals could be joined to.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        status: Callable[[], pb.Status],
        explain: Callable[[ExplainRequest], Awaitable[Stories]],
        quarantine: Quarantine,
        faults: FaultBoard | None = None,
        database: Database | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._lifecycle = lifecycle
        self._versions = Versions(lifecycle, database)
        self._challenges = Challenges(lifecycle, database)
        self._records = Records(lifecycle, database)
        self._actuals = Actuals(lifecycle, ledger)
        self._watching = Watching(lifecycle)
        self._quarantine = quarantine
        self._status = status
        self._explain = explain
        self._faults = faults

    def close(self) -> None:
        """End what would not end by itself: the streams of those who watch."""
        self._watching.close()

    # ---- the server ----

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.Status:
        """The processes and what they do."""
        return self._status()

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """The table of routes that serves now; of a server that starts it is not known yet."""
        if not self._lifecycle.started:
            return pb.ListModelsResponse(loading=True)
        table = self._lifecycle.table
        if request.name:
            self._settings(request.name)
        routes = [route for name, route in table.routes.items() if request.name in ("", name)]
        return pb.ListModelsResponse(generation=table.generation, routes=[route_to_message(route) for route in routes])

    async def Explain(self, request: ExplainRequest, context: Context) -> Stories:
        """What became of recent requests."""
        found = await self._explain(request)
        if not found.stories:
            raise NotFound(nothing_found(request, found, time.time_ns()))
        return found

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.Event]:
        """What happens from now on."""
        async for event in self._watching.events(request):
            yield event

    # ---- the life of versions ----

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        """All versions and where they stand."""
        return await self._versions.listed(request)

    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> pb.Changed:
        """Serve a version."""
        return await self._versions.load(request, actor_of(context))

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> pb.Changed:
        """Serve a version, or a model, no more."""
        return await self._versions.unload(request, actor_of(context))

    async def TestVersion(self, request: pb.TestVersionRequest, context: Context) -> pb.Report:
        """Put a version through its gates."""
        return await self._versions.test(request, actor_of(context))

    async def WarmVersion(self, request: pb.WarmVersionRequest, context: Context) -> pb.Report:
        """Run a version beside the champion."""
        return await self._versions.warm(request, actor_of(context))

    async def PlanPromotion(self, request: pb.PlanPromotionRequest, context: Context) -> pb.PromotionPlan:
        """What a promotion would do."""
        return await self._versions.plan(request)

    async def Promote(self, request: pb.PromoteRequest, context: Context) -> pb.Changed:
        """Make a version champion."""
        return await self._versions.promote(request, actor_of(context))

    async def Rollback(self, request: pb.RollbackRequest, context: Context) -> pb.Changed:
        """Go back to a version."""
        return await self._versions.rollback(request, actor_of(context))

    async def Freeze(self, request: pb.FreezeRequest, context: Context) -> pb.FreezeResponse:
        """Stop promotions, or let them go on."""
        return await self._versions.freeze(request, actor_of(context))

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.Changed:
        """Give a version a name."""
        return await self._versions.set_alias(request, actor_of(context))

    async def SetFallback(self, request: pb.SetFallbackRequest, context: Context) -> pb.SetFallbackResponse:
        """Switch a model to its fallback, or back; every worker does when this returns."""
        return await self._versions.set_fallback(request, actor_of(context))

    # ---- challengers, trials, canaries, approvals ----

    async def Challenge(self, request: pb.ChallengeRequest, context: Context) -> pb.Changed:
        """Make a version a challenger."""
        return await self._challenges.challenge(request, actor_of(context))

    async def SetSplit(self, request: pb.SetSplitRequest, context: Context) -> pb.Changed:
        """Divide a model's requests between its champion and its challengers."""
        return await self._challenges.split(request, actor_of(context))

    async def Withdraw(self, request: pb.WithdrawRequest, context: Context) -> pb.Changed:
        """Make a challenger one no longer."""
        return await self._challenges.withdraw(request, actor_of(context))

    async def StartTrial(self, request: pb.StartTrialRequest, context: Context) -> pb.Case:
        """Find out whether a challenger is better."""
        return await self._challenges.start_trial(request, actor_of(context))

    async def StopTrial(self, request: pb.StopTrialRequest, context: Context) -> pb.Case:
        """End a trial without a verdict."""
        return await self._challenges.stop_trial(request, actor_of(context))

    async def StopRollout(self, request: pb.StopRolloutRequest, context: Context) -> pb.Case:
        """Undo a canary that is under way."""
        return await self._challenges.stop_rollout(request, actor_of(context))

    async def Approve(self, request: pb.ApproveRequest, context: Context) -> pb.Case:
        """Agree to what was asked for."""
        return await self._challenges.approve(request, actor_of(context))

    async def Reject(self, request: pb.RejectRequest, context: Context) -> pb.Case:
        """Do not agree."""
        return await self._challenges.reject(request, actor_of(context))

    async def ListCases(self, request: pb.ListCasesRequest, context: Context) -> pb.ListCasesResponse:
        """What is under way, or was."""
        return await self._challenges.cases(request)

    async def Diff(self, request: pb.ApplyRequest, context: Context) -> pb.ApplyResponse:
        """What a file declares, against what is."""
        return await self._challenges.diff(request)

    async def Apply(self, request: pb.ApplyRequest, context: Context) -> pb.ApplyResponse:
        """Make it so."""
        return await self._challenges.apply(request, actor_of(context))

    async def GetEvidence(self, request: pb.GetEvidenceRequest, context: Context) -> pb.Evidence:
        """All that is known of why a version serves, or does not."""
        return await self._challenges.evidence(request)

    # ---- what was kept ----

    async def ListReports(self, request: pb.ListReportsRequest, context: Context) -> pb.ListReportsResponse:
        """What versions were put through."""
        return await self._records.reports(request)

    async def ListAudit(self, request: pb.ListAuditRequest, context: Context) -> pb.ListAuditResponse:
        """Who did what."""
        return await self._records.audit(request)

    async def VerifyAudit(self, request: pb.VerifyAuditRequest, context: Context) -> pb.VerifyAuditResponse:
        """Whether the audit log is whole."""
        return await self._records.verify(request)

    async def SubmitActuals(self, request: pb.SubmitActualsRequest, context: Context) -> pb.SubmitActualsResponse:
        """Join what came true to what was predicted."""
        return await self._actuals.submit(request)

    # ---- faults and crashes ----

    async def ListFaults(self, request: pb.ListFaultsRequest, context: Context) -> pb.ListFaultsResponse:
        """What is made to go wrong now."""
        faults = self._fault_board().now()
        if request.model:
            self._settings(request.model)
        return pb.ListFaultsResponse(
            models=[
                ModelFaults(model=model, faults=to_messages(each))
                for model, each in faults.items()
                if each and request.model in ("", model)
            ]
        )

    async def SetFaults(self, request: pb.SetFaultsRequest, context: Context) -> pb.SetFaultsResponse:
        """Make the runs of a model fail, or let it be well."""
        board = self._fault_board()
        faults = checked(request.model, request.faults, self._settings(request.model))
        return pb.SetFaultsResponse(workers=await board.set(request.model, faults))

    async def ListQuarantine(self, request: pb.ListQuarantineRequest, context: Context) -> pb.ListQuarantineResponse:
        """The requests that were in runs when workers crashed."""
        suspects = [self._suspect(each) for each in self._quarantine.suspects()]
        return pb.ListQuarantineResponse(suspects=suspects)

    def _suspect(self, suspect: Suspect) -> pb.Suspect:
        message = pb.Suspect(
            fingerprint=f"{suspect.fingerprint:016x}",
            crashes=suspect.crashes,
            last_seconds=suspect.second,
            refused=suspect.refused,
        )
        for route in self._lifecycle.table.routes.values():
            for version in route.versions.values():
                if names(suspect.fingerprint, version):
                    message.model, message.version = version.model, version.number
        return message

    async def ClearQuarantine(self, request: pb.ClearQuarantineRequest, context: Context) -> pb.ClearQuarantineResponse:
        """Forget them: what was refused is run again."""
        cleared = len(self._quarantine.suspects())
        self._quarantine.ask_to_forget()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not self._quarantine.forgotten:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise NotReady("the supervisor does not answer: try again") from None
        return pb.ClearQuarantineResponse(cleared=cleared)

    def _fault_board(self) -> FaultBoard:
        if self._faults is None:
            raise Refused("faults are not allowed here: start the server with --allow-faults, for tests only")
        return self._faults

    def _settings(self, model: str) -> ModelSettings:
        route = self._lifecycle.table.routes.get(model)
        if route is None:
            raise NotFound(f"unknown model '{model[:200]}'")
        return route.settings


class AdminServer:
    """The open admin port."""

    def __init__(self, server: aio.Server, admin: Admin) -> None:
        self._server = server
        self._admin = admin

    async def stop(self, grace_s: float | None) -> None:
        """Close it: watchers are told at once, other calls have so many seconds to end."""
        self._admin.close()
        await self._server.stop(grace_s)


async def serve_admin(
    address: str,
    admin: Admin,
    access: Access | None = None,
    credentials: Credentials | None = None,
    others: Iterable[Callable[[aio.Server], None]] = (),
) -> AdminServer:
    """Open the admin port, with TLS where there are `credentials`. Raises SettingsError when it cannot.

    Without `access` whoever reaches the port may do everything. `others` add their services beside `admin`.
    """
    server = aio.server(interceptors=[Guard()] if access is None else [Guard(), access])
    admin_pb2_grpc.add_AdminServicer_to_server(admin, server)  # type: ignore[no-untyped-call]
    for add in others:
        add(server)
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, server_credentials(credentials))
    except RuntimeError as error:
        raise cannot_open(address) from error
    await server.start()
    return AdminServer(server, admin)
