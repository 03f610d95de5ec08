"""
As much of `awslocal` as `localstack/init-aws.sh` uses: SERVICE OPERATION --OPTION VALUE ...

The command is a few lines of bash that ask this process: a Python with an SDK for each of a dozen calls would take
longer than everything else that the script does.
"""

import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jmespath
from botocore.exceptions import ClientError

COMMAND = """\
#!/usr/bin/env bash
exec 3<> /dev/tcp/127.0.0.1/{port}
printf '%s\\0' "$#" "$@" >&3
IFS= read -r code <&3
if [ "$code" = 0 ]; then cat <&3; else cat <&3 >&2; fi
exit "$code"
"""


def call(clients: Mapping[str, Any], service: str, operation: str, *rest: str) -> tuple[int, str]:
    """Exit code and output of one command, by the client of its service."""
    options = dict(zip([name.removeprefix("--") for name in rest[::2]], rest[1::2], strict=True))
    query = options.pop("query", "@")
    assert options.pop("output", "text") == "text"
    arguments: dict[str, object] = {
        "".join(word.capitalize() for word in name.split("-")): value for name, value in options.items()
    }
    if "Attributes" in arguments:
        arguments["Attributes"] = json.loads(options["attributes"])
    if "LifecycleConfiguration" in arguments:
        arguments["LifecycleConfiguration"] = json.loads(options["lifecycle-configuration"])
    if "AttributeNames" in arguments:
        arguments["AttributeNames"] = [options["attribute-names"]]
    if "Body" in arguments:
        arguments["Body"] = Path(options["body"]).read_bytes()
    try:
        answer = getattr(clients[service], operation.replace("-", "_"))(**arguments)
    except ClientError as error:
        return 254, str(error)
    return 0, str(jmespath.search(query, answer))


@contextmanager
def installed(folder: Path, clients: Mapping[str, Any]) -> Iterator[None]:
    """Put the command into *folder*; while inside, it is answered by *clients* (`sqs`, `s3api`)."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            words = [self._word() for _ in range(int(self._word()))]
            code, output = call(clients, *words)
            self.wfile.write(f"{code}\n{output}\n".encode())

        def _word(self) -> str:
            word = bytearray()
            while (byte := self.rfile.read(1)) not in (b"\0", b""):
                word += byte
            return word.decode()

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        command = folder / "awslocal"
        command.write_text(COMMAND.format(port=server.server_address[1]))
        command.chmod(0o755)
        yield
        server.shutdown()
        thread.join()
