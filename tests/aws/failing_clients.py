"""Clients of AWS that refuse every call with one error: what an adapter makes of it can be seen without a network."""

from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from archiver.aws.clients import Clients


def client_error(code: str, status: int = 400, **more: str) -> ClientError:
    """The error that botocore raises for *code*; *more* goes beside it, as `QueryErrorCode` does."""
    told: Any = {"Error": {"Code": code, "Message": "so", **more}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(told, "Operation")


class FailingClient:
    """Every call raises *error*, but for those that *answers* has."""

    meta = SimpleNamespace(region_name="eu-west-1")

    def __init__(self, error: BaseException, **answers: Any) -> None:
        self._error = error
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(**_: object) -> Any:
            if name in self._answers:
                return self._answers[name]
            raise self._error

        return call

    def get_paginator(self, _name: str) -> "FailingClient":
        return self

    async def paginate(self, **_: object) -> AsyncIterator[Any]:
        yield await self.page()


def make_failing_clients(error: BaseException, **answers: Any) -> Clients:
    """Clients for every role that refuse with *error*."""
    one: Any = FailingClient(error, **answers)
    return Clients(one, one, one, one, one, one, one)
