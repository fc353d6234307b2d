"""What stands around every method of the admin service: requests are read, errors are told in the words of gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import aio
from grpc_status import rpc_status

from router.edge.error_details import Subject, details
from router.edge.transport import trailers
from router.errors import InternalError, InvalidRequest, RouterError

log = structlog.get_logger()

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_NOBODY: Final = Subject()


async def abort(context: aio.ServicerContext[Any, Any], error: RouterError, subject: Subject = _NOBODY) -> NoReturn:
    """End a call with an error: its status, its message, google.rpc's details."""
    status = rpc_status.to_status(details(error, subject))
    beside = (*trailers(error), *status.trailing_metadata)
    await context.abort(_CODES[error.status], status.details, trailing_metadata=beside)


class Guard(aio.ServerInterceptor):
    """Methods behind it raise RouterErrors. What is none of them is ours: the log has it, the caller does not."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method with what stands around it; None for one that is not known."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        name = handler_call_details.method.rpartition("/")[2]
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                _answering(handler.unary_unary, handler.request_deserializer, name),
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                _telling(handler.unary_stream, handler.request_deserializer, name),
                response_serializer=handler.response_serializer,
            )
        return handler


def _answering(method: Any, read: Callable[[bytes], Any] | None, name: str) -> Any:
    async def answer(raw: bytes, context: aio.ServicerContext[Any, Any]) -> Any:
        request: Any = None
        try:
            request = _read(raw, read, name)
            return await method(request, context)
        except aio.AbortError:
            raise
        except RouterError as error:
            await abort(context, error, _subject(request))
        except Exception:  # nobody else sees it
            log.exception("an admin method failed", method=name)
            await abort(context, InternalError())

    return answer


def _telling(method: Any, read: Callable[[bytes], Any] | None, name: str) -> Any:
    async def tell(raw: bytes, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        request: Any = None
        try:
            request = _read(raw, read, name)
            async for each in method(request, context):
                yield each
        except aio.AbortError:
            raise
        except RouterError as error:
            await abort(context, error, _subject(request))
        except Exception:  # nobody else sees it
            log.exception("an admin method failed", method=name)
            await abort(context, InternalError())

    return tell


def _read(raw: bytes, read: Callable[[bytes], Any] | None, name: str) -> Any:
    try:
        return raw if read is None else read(raw)
    except DecodeError:
        raise InvalidRequest(f"the message is not one that {name} takes") from None


def _subject(request: Any) -> Subject:
    model = getattr(request, "model", "") or getattr(request, "name", "")
    version = getattr(request, "version", "")
    return Subject(model, version) if isinstance(model, str) and isinstance(version, str) else _NOBODY
