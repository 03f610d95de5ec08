"""How a command ended, for the tests of answers."""

from archiver.core.command_result import CommandResult, StoredOutput, StreamResult
from archiver.core.messages import EchoedFields, Success

OUTPUT = StoredOutput("s3://bucket/path/to/output.txt", 14, '"ab"')
RESULT = CommandResult(
    "my_service",
    0,
    None,
    0.2104,
    StreamResult(14, "read 14 bytes\n"),
    StreamResult(0, uri="s3://bucket/path/to/stderr.txt"),
    inputs=3,
    outputs=(OUTPUT,),
)
DONE = Success(EchoedFields(), None, None, "succeeded", (), (), "77" * 32, command=RESULT)
