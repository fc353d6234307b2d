"""Whatever is sent to the admin port: an answer, or an error of the caller's in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.edge import admin_words as words
from router.edge.admin_client import AdminClient, AdminError
from router.edge.error_details import BadField, told
from router.errors import SettingsError, Status
from router.pb import admin_pb2, faults_pb2, story_pb2
from tests.fake_admin import served

SERVICE = admin_pb2.DESCRIPTOR.services_by_name["Admin"]
OURS = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}
QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.one_of(
    st.sampled_from(["", "a", "b", "c", "1", "2", "3", "9", "0", "-1", "champion", "latest", "test", "warm", "swap"]),
    st.text(max_size=30),
    st.sampled_from(["x" * 1001, "\x00", "a\nb", "../../etc", "١", "ab" * 32, "9" * 400, "\u202e", "%s%n", "a:2"]),
)


def value(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """What a field may hold."""
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return TEXTS
        case FieldDescriptor.TYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.TYPE_DOUBLE:
            return st.floats()
        case FieldDescriptor.TYPE_INT64:
            return st.integers(-(2**63), 2**63 - 1)
        case FieldDescriptor.TYPE_UINT32:
            return st.integers(0, 2**32 - 1)
        case FieldDescriptor.TYPE_UINT64:
            return st.integers(0, 2**64 - 1)
        case FieldDescriptor.TYPE_MESSAGE:
            return message(field.message_type)
    raise AssertionError(f"{field.full_name} is of a kind that no request has had so far")


def message(kind: Any) -> st.SearchStrategy[Any]:
    """A message with any of its fields."""
    made = next(getattr(of, kind.name) for of in (admin_pb2, faults_pb2, story_pb2) if hasattr(of, kind.name))
    fields = {}
    for field in kind.fields:
        of = field.message_type
        if of is not None and of.GetOptions().map_entry:
            key, one = (value(of.fields_by_name[part]) for part in ("key", "value"))
            fields[field.name] = st.dictionaries(key, one, max_size=3)
        else:
            one = value(field)
            fields[field.name] = st.lists(one, max_size=3) if field.is_repeated else one
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: made(**given))


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    """To a service that answers."""
    with served() as service, grpc.insecure_channel(service.address) as made:
        yield made


def ask(channel: grpc.Channel, method: str, raw: bytes) -> None:
    """Any error is the caller's, says so in one line, and says it to programs too."""
    refused = refusal(channel, method, raw)
    if refused is not None:
        assert refused.code().name not in OURS, refused.details()
        assert refused.details()
        assert refused.details().isprintable()
        assert len(refused.details()) < 2000
        assert told(refused) is not None


def refusal(channel: grpc.Channel, method: str, raw: bytes) -> Any:
    """The error that came; None where none did."""
    path = f"/{SERVICE.full_name}/{method}"
    try:
        if SERVICE.methods_by_name[method].server_streaming:
            call = channel.unary_stream(path)(raw, timeout=10)
            next(iter(call))
            call.cancel()
        else:
            channel.unary_unary(path)(raw, timeout=10)
    except grpc.RpcError as error:
        return error
    return None


@pytest.mark.parametrize("method", [method.name for method in SERVICE.methods])
@QUICK
@given(data=st.data())
def test_any_message(channel: grpc.Channel, method: str, data: st.DataObject) -> None:
    """Never an error of ours."""
    request = data.draw(message(SERVICE.methods_by_name[method].input_type))
    ask(channel, method, request.SerializeToString())


@QUICK
@given(method=st.sampled_from([method.name for method in SERVICE.methods]), raw=st.binary(max_size=200))
def test_any_bytes(channel: grpc.Channel, method: str, raw: bytes) -> None:
    """What is no message is INVALID_ARGUMENT."""
    ask(channel, method, raw)


def test_bytes_that_are_no_message(channel: grpc.Channel) -> None:
    """The line names the method."""
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(f"/{SERVICE.full_name}/Promote")(b"\xff\xff\xff")
    error: Any = raised.value
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "the message is not one that Promote takes",
    )


def test_a_fault_of_ours_is_told_to_the_log_only() -> None:
    """The caller learns that it was ours, and no more."""
    with served() as service, AdminClient(service.address) as client:
        service.database.reports = lambda *_: 1 / 0  # type: ignore[assignment,method-assign]
        with pytest.raises(AdminError, match="its log has the details") as raised:
            client.reports("a")
    assert (raised.value.status, raised.value.reason) == (Status.INTERNAL, "INTERNAL_ERROR")
    assert "division" not in str(raised.value)


LONG = "x" * 1001
CHALLENGE = {"model": "a", "version": "2"}
MANY = [{"key": f"k{place}", "value": "v"} for place in range(101)]


@pytest.mark.parametrize(
    ("method", "fields", "field", "line"),
    [
        ("Promote", {"version": "2"}, "model", "the request names no model"),
        ("Promote", {"model": "a"}, "version", "the request names no version"),
        ("Promote", {"model": "a", "version": "v2"}, "version", "'v2' is no version: a number is meant, such as 3"),
        ("Promote", {"model": "a", "version": "02"}, "version", "'02' is no version: a number is meant, such as 3"),
        ("Promote", {"model": "a", "version": "2", "strategy": "slow"}, "strategy", "'slow' is no strategy: canary or"),
        ("Promote", {"model": "a", "version": "2", "expected_champion": "x"}, "expected_champion", "'x' is no version"),
        ("Promote", {"model": "a", "version": "2", "reason": LONG}, "reason", "the reason has 1001 characters"),
        ("Promote", {"model": "a", "version": "2", "reason": "a\x1b[31m"}, "reason", "holds a control character"),
        ("Promote", {"model": "a", "version": "2", "reason": "a\u2028b"}, "reason", "or a line break"),
        ("Promote", {"model": "a", "version": "3", "override": True}, "reason", "needs a reason"),
        ("Promote", {"model": "a", "version": "3", "override": True, "reason": "  "}, "reason", "needs a reason"),
        ("TestVersion", {"model": "a", "version": "champion"}, "version", "'champion' is no version"),
        ("SetAlias", {"model": "a", "version": "1"}, "alias", "the request names no alias"),
        ("SetAlias", {"model": "a", "alias": "Latest"}, "alias", "'Latest' is a role and no alias"),
        ("SetAlias", {"model": "a", "alias": "12"}, "alias", "'12' is a number and no alias"),
        ("SetAlias", {"model": "a", "alias": "x" * 101}, "alias", "100 characters are the most"),
        ("SetAlias", {"model": "a", "alias": "a b"}, "alias", "blanks, colons, slashes"),
        ("LoadModel", {"model": "x" * 256}, "model", "255 characters are the most"),
        ("ListReports", {"model": "a", "kind": "exam"}, "kind", "'exam' is no kind of report"),
        ("VerifyAudit", {"head": "abc"}, "head", "64 hexadecimal digits are meant"),
        ("SubmitActuals", {"model": "a"}, "actuals", "holds no actuals"),
        ("Challenge", {"model": "a"}, "version", "the request names no version"),
        ("Challenge", {"model": "a", "version": "2", "share": 101.0}, "share", "a share of 101 %: it is to lie from 0"),
        ("Challenge", {"model": "a", "version": "2", "share": -1.0}, "share", "a share of -1 %"),
        ("Challenge", {"model": "a", "version": "2", "share": float("nan")}, "share", "a share of nan %"),
        ("Challenge", {**CHALLENGE, "matches": [{"key": "x y"}]}, "matches[0].key", "'x y' is no key of metadata"),
        ("Challenge", {**CHALLENGE, "matches": [{"key": "x-bin"}]}, "matches[0].key", "neither grpc-… nor …-bin"),
        ("Challenge", {**CHALLENGE, "matches": [{"key": "k", "value": "é"}]}, "matches[0].value", "printable ASCII"),
        (
            "Challenge",
            {**CHALLENGE, "matches": [{"key": "k", "value": "v", "version": "3"}]},
            "matches[0].version",
            "version 2's",
        ),
        (
            "Challenge",
            {**CHALLENGE, "matches": [{"key": "k", "value": "v"}, {"key": "K", "value": "v"}]},
            "matches[1]",
            "stands there twice",
        ),
        ("Challenge", {**CHALLENGE, "matches": MANY}, "matches", "101 matches: 100 are the most"),
        ("SetSplit", {"model": "a", "shares": {"x": 1.0}}, "shares", "'x' is no version"),
        ("SetSplit", {"model": "a", "shares": {"2": 60.0, "3": 50.0}}, "shares", "110 % together (version 2 60 %, "),
        ("SetSplit", {"model": "a", "matches": [{"key": "k", "value": "v"}]}, "matches[0].version", "names no version"),
        ("Withdraw", {"version": "2"}, "model", "the request names no model"),
        ("StartTrial", {"model": "a", "version": "latest"}, "version", "'latest' is no version"),
        ("StopTrial", {}, "model", "the request names no model"),
        ("StopRollout", {"model": "a", "reason": LONG}, "reason", "the reason has 1001 characters"),
        ("Approve", {}, "id", "the request names no case: `router cases` has their numbers"),
        ("Approve", {"id": 1, "digest": "ab"}, "digest", "'ab' is no digest of a version"),
        ("Reject", {"id": 1, "reason": " "}, "reason", "a rejection needs a reason"),
        ("ListCases", {"kind": "test"}, "kind", "'test' is no kind of case: trial, rollout, request, retraining"),
        ("Apply", {"text": " \n"}, "text", "declares nothing: TOML is meant"),
        ("Diff", {"text": "x" * (words.DECLARED + 1)}, "text", "1048576 are the most"),
        ("GetEvidence", {"model": "a"}, "version", "the request names no version"),
    ],
)
def test_what_cannot_be_meant_names_the_field(
    channel: grpc.Channel, method: str, fields: dict[str, Any], field: str, line: str
) -> None:
    """INVALID_ARGUMENT, before anything is done."""
    request = getattr(admin_pb2, SERVICE.methods_by_name[method].input_type.name)(**fields)
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(f"/{SERVICE.full_name}/{method}")(request.SerializeToString())
    error: Any = raised.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert line in error.details()
    details = told(error)
    assert details is not None
    assert details.field == field


@given(st.text(max_size=120))
def test_an_alias_is_never_taken_for_something_else(name: str) -> None:
    """Neither for a number nor for a role, and it fits in MODEL:VERSION."""
    with contextlib.suppress(BadField):
        taken = words.alias(name)
        assert taken == name
        assert not taken.isnumeric()
        assert taken.lower() not in {"champion", "standby", "challenger", "latest"}
        assert ":" not in taken


@given(st.lists(st.builds(admin_pb2.MetadataMatch, key=st.text(max_size=8), value=st.text(max_size=8)), max_size=4))
def test_what_is_matched_can_stand_in_metadata(given: list[admin_pb2.MetadataMatch]) -> None:
    """Keys in lower case, as gRPC has them; each pair once."""
    with contextlib.suppress(BadField):
        taken = words.matches(given, "2")
        assert [(each.key, each.value) for each in taken] == [(each.key.lower(), each.value) for each in given]
        assert len(set(taken)) == len(taken)
        assert all(
            each.key and each.value and f"{each.key}{each.value}".isascii() and each.number == "2" for each in taken
        )


@given(st.dictionaries(st.sampled_from(["1", "2", "10", "33"]), st.floats(), max_size=4))
def test_shares_are_never_more_than_all(given: dict[str, float]) -> None:
    """None is lost, the lowest version first."""
    with contextlib.suppress(BadField):
        taken = words.shares(given)
        assert taken == given
        assert 0 <= sum(taken.values()) <= 100
        assert list(taken) == sorted(taken, key=int)


@pytest.mark.parametrize("token", ["two words", "é", "a\n"])
def test_a_token_that_can_be_none(token: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(SettingsError, match="characters that no token has"):
        AdminClient("127.0.0.1:1", token=token)
