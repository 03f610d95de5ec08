"""Clients of AWS that refuse every call with one error: what an adapter makes of it can be seen without a network."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError, NoCredentialsError

from archiver.aws.clients import Clients
from archiver.aws.error_mapping import NO_CREDENTIALS, CredentialsError, credentials_message
from archiver.aws.s3_calls import S3Calls
from archiver.aws.s3_transport import S3Request
from archiver.errors import ArchiverError, ConfigurationError, TransferInterrupted
from archiver.http.exchange import HttpResponse
from archiver.http.parse import Head


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


def answer(body: str = "", *, status: int = 200, **fields: str) -> HttpResponse:
    """An answer of S3's with the header *fields* (`_` is a hyphen)."""
    named = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return HttpResponse(Head(status, {b"content-length": b"1", **named}, keep_alive=True), body.encode())


BEGUN = answer("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")

OPERATIONS = {
    "HEAD": ("head_object",),
    "GET": ("get_object", "list_parts", "list_multipart_uploads"),
    "PUT": ("put_object", "upload_part"),
    "POST": ("create_multipart_upload", "complete_multipart_upload"),
    "DELETE": ("delete_object", "abort_multipart_upload"),
}


def operation(request: S3Request) -> str:
    """The SDK's name of the call that *request* is."""
    if request.method == "POST":
        return OPERATIONS["POST"]["uploadId" in request.query]
    if request.method == "GET" and "uploads=" in request.query:
        return "list_multipart_uploads"
    return OPERATIONS[request.method]["uploadId=" in request.query]


class FailingTransport:
    """Every request fails with *error*, which for one of S3's is an answer; but for those that *answers* has."""

    def __init__(self, error: BaseException, **answers: HttpResponse | Exception) -> None:
        self._error = error
        self._answers = answers
        self.requests: list[S3Request] = []

    async def request(self, request: S3Request) -> HttpResponse:
        self.requests.append(request)
        found = self._answers.get(operation(request), self._error)
        if isinstance(found, HttpResponse):
            return found
        if isinstance(found, ClientError):
            return refusal(found, bodiless=request.method == "HEAD")
        if isinstance(found, ArchiverError | RuntimeError):
            raise found
        if isinstance(found, NoCredentialsError):
            raise ConfigurationError(NO_CREDENTIALS)
        if isinstance(found, FileNotFoundError):
            raise CredentialsError(credentials_message(found))
        raise TransferInterrupted(str(found))

    async def close(self) -> None:
        """Nothing is open."""


def refusal(error: ClientError, *, bodiless: bool) -> HttpResponse:
    """The answer of which the SDK makes *error*: without a code, its status stands for it."""
    told = error.response["Error"]
    code = told["Code"]
    is_status = code.isascii() and code.isdigit()
    status = int(code) if is_status and 300 <= int(code) < 600 else error.response["ResponseMetadata"]["HTTPStatusCode"]
    body = "" if bodiless or is_status else f"<Error><Code>{code}</Code><Message>{told['Message']}</Message></Error>"
    return answer(body, status=status)


def make_s3_calls(error: BaseException, **answers: HttpResponse | Exception) -> S3Calls:
    """Calls of S3 that all fail with *error*, but for those that *answers* has."""
    one = FailingTransport(error, **answers)
    return S3Calls(one, one, one, retry_seconds=0)


def make_failing_clients(error: BaseException, **answers: Any) -> Clients:
    """Clients for every role that refuse with *error*."""
    one: Any = FailingClient(error, **answers)
    return Clients(one, one, one, one, make_s3_calls(error, **answers))
