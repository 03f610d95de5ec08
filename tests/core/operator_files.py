"""Operator files for commands, as docs and tests use them, and what they make of requests."""

import json
from typing import Any

import pytest

from archiver.core.command_order import CommandOrder
from archiver.core.command_requests import order_command
from archiver.core.commands import CommandRules
from archiver.core.dialects import dialect_of
from archiver.core.locations import AllowList
from archiver.core.operator_policy import OperatorPolicy
from archiver.errors import Rejected

AWS_CLI = """
[commands.aws-s3-cp]
argv    = ["aws", "s3", "cp", "--no-progress", "{source}", "{target}"]
accepts = ["aws2 s3 cp {source} {target}", "aws s3 cp {source} {target}"]
aws     = true
timeout = 3600
[commands.aws-s3-cp.parameters]
source = { type = "s3_uri", allowed = ["mybucket/"] }
target = { type = "path", under = "/data" }
"""

LANLYTICS = r"""
[commands.my_service]
runner = "docker"
image  = "registry.example.com/tools/my_service@sha256:6f1e"
argv   = ["{arguments}"]
network = "none"
retry_exit_codes = [75]
inputs  = ["bucket/path/"]
outputs = ["bucket/path/"]
[commands.my_service.arguments]
"--infile"  = { type = "input" }
"--arg1"    = { type = "parameter", pattern = "[\\w.-]{1,64}" }
"--outfile" = { type = "output" }
"""

THUMBNAILS = """
[commands.thumbnails]
argv = ["python", "/opt/tools/my_script.py", "--width", "{width}", "{arguments}"]
at_most_once = false
inputs = ["photos/"]
outputs = ["thumbs/small/"]
[commands.thumbnails.parameters]
width = { type = "integer", min = 16, max = 4096, default = 256 }
[commands.thumbnails.arguments]
positional = [{ type = "input" }, { type = "output" }]
"""

STUDY = f"""
[defaults]
timeout = 600
disk = "2GiB"
memory = "1GiB"
output = "1MiB"
{AWS_CLI}{LANLYTICS}{THUMBNAILS}
"""


ALL_TYPES = r"""
[commands.all]
argv = ["tool", "-i={in}", "--to", "{out}", "{names}", "{{{text}}}", "{arguments}"]
accepts = ["tool {in} {out} {text}"]
inputs = ["src"]
outputs = ["dst"]
[commands.all.parameters]
in = { type = "input" }
out = { type = "output" }
names = { type = "text_list", choices = ["x", "y z"], default = [] }
text = { type = "text", pattern = "[^/]*" }
[commands.all.arguments]
"-v" = { type = "parameter", flag = true }
"--level" = { type = "parameter", flag = true, choices = ["1", "-1"], dash = true }
"--size" = { type = "parameter", joined = true, pattern = "[0-9]+" }
"--more" = { type = "input", joined = true }
"""


def rules_of(text: str, allowed: AllowList | None = None) -> CommandRules:
    """What the operator's file *text* lets requests run. The bucket of the archives is `zips`."""
    commands = OperatorPolicy.parse(text.encode()).commands
    return CommandRules(commands, allowed or AllowList("zips"), "zips")


def order_of(body: str, rules: CommandRules) -> CommandOrder:
    """The order that the message *body* becomes."""
    return order_command(dialect_of(body).parse_request(body), rules)


def words_of(body: str, rules: CommandRules) -> list[str]:
    """Its command line, of a run in `/job`."""
    return order_of(body, rules).words("/job")


def rejected(body: str, text: str = STUDY, allowed: AllowList | None = None) -> Rejected:
    """How a worker with the operator's file *text* rejects the message *body*."""
    with pytest.raises(Rejected) as caught:
        order_of(body, rules_of(text, allowed))
    return caught.value


def native(**call: Any) -> str:
    return json.dumps({"command": call})


def mcai(template: str, *requirements: str, **values: Any) -> str:
    parameters = [{"id": name, "type": "string", "value": value} for name, value in values.items()]
    parameters.append({"id": "command_template", "type": "string", "value": template})
    if requirements:
        parameters.append({"id": "requirements", "type": "requirements", "value": {"paths": list(requirements)}})
    return json.dumps({"job_id": 1, "parameters": parameters})


def lanlytics(*arguments: tuple[str, str | None, Any], queue: str | None = None, **more: Any) -> str:
    given = [{"type": kind, "name": name, "value": value} for kind, name, value in arguments]
    return json.dumps({"service": "my_service", "queue": queue, "command": {"arguments": given, **more}})
