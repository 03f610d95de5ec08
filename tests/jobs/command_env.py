"""Commands on the fakes, with real programs."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakes import FakeHold, FakeStore

from archiver.command.space import WorkSpace, open_space
from archiver.core.archive_rules import ArchiveRules
from archiver.core.commands import CommandCredentials
from archiver.core.dialects import dialect_of
from archiver.core.locations import AllowList, Location
from archiver.core.operator_policy import OperatorPolicy
from archiver.jobs.command import CommandWork
from archiver.jobs.command_inputs import InputReader
from archiver.jobs.command_memory import CommandMemory
from archiver.jobs.command_outputs import OutputBuckets
from archiver.jobs.command_run import Runner
from archiver.jobs.identity import JobIdentity
from archiver.jobs.work import Result
from archiver.ports import Hold, Message, ObjectStore
from archiver.stages.credential_check import CredentialCheck
from archiver.stages.progress import Progress
from stages.builders import StageEnv

MIB = 1024 * 1024

# The names of arguments are dropped: `$1` is the first path.
PRELUDE = 'for w in "$@"; do shift; case "$w" in --in|--out) ;; *) set -- "$@" "$w";; esac; done; '

POLICY = """
[commands.tool]
argv = ["sh", "-c", {script}, "sh", "{{arguments}}"]
inputs = ["source/"]
outputs = ["target/"]
disk = "16MiB"
output = "1KiB"
{more}
[commands.tool.arguments]
"--in" = {{ type = "input" }}
"--out" = {{ type = "output" }}
[commands.tool.parameters]
{parameters}
{others}
"""


@dataclass
class CommandEnv:
    """Objects in `source`, outputs in `target`, results in `archives`. *script* is what the command `tool` runs."""

    space: WorkSpace
    stage: StageEnv = field(default_factory=lambda: StageEnv(total=15 * MIB))
    script: str = "true"
    more: str = ""
    parameters: str = ""
    others: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    longest: float = 600.0
    wait_limit: int = 0

    def __post_init__(self) -> None:
        self.stores: dict[str, FakeStore] = {"archives": self.stage.store}

    def store(self, bucket: str) -> ObjectStore:
        if bucket not in self.stores:
            self.stores[bucket] = FakeStore(self.stage.s3, bucket, min_part_bytes=0)
        return self.stores[bucket]

    @property
    def work(self) -> CommandWork:
        text = POLICY.format(
            script=json.dumps(PRELUDE + self.script), more=self.more, parameters=self.parameters, others=self.others
        )
        policy = OperatorPolicy.parse(text.encode())
        rules = ArchiveRules("source", "archives", AllowList("archives"), "store", commands=policy.commands)
        rules = replace(rules, waiting=replace(rules.waiting, limit=self.wait_limit))
        stage = self.stage

        async def variables(_: CommandCredentials) -> Mapping[str, str]:
            return self.variables

        return CommandWork(
            rules,
            inputs=InputReader(stage.fetcher, CredentialCheck(stage.store), stage.budget),
            runner=Runner(self.space, stage.budget, variables, self.longest),
            buckets=OutputBuckets(self.store, stage.budget),
            memory=CommandMemory(stage.fetcher, "archives", stage.store, stage.receipts),
        )

    def put(self, key: str, data: bytes = b"data", bucket: str = "source") -> None:
        self.stage.s3.put(bucket, key, data)

    def out(self, key: str, bucket: str = "target") -> bytes:
        return self.stage.s3.objects[Location(bucket, key)].data

    @property
    def written(self) -> list[str]:
        """All objects that are no inputs."""
        return sorted(str(at) for at in self.stage.s3.objects if at.bucket != "source")

    async def run(self, *arguments: str, hold: Hold | None = None, job_id: str | None = None, **call: Any) -> Result:
        """Run `tool`; an argument that begins with `s3://source/` is an input, any other an output."""
        call.setdefault("arguments", [_argument(one) for one in arguments])
        body = {"command": {"name": "tool", **call}, **({"job_id": job_id} if job_id else {})}
        return await self.run_body(body, hold)

    async def run_body(self, body: Mapping[str, Any], hold: Hold | None = None, message_id: str = "m") -> Result:
        text, work = json.dumps(body), self.work
        message = Message(message_id, text, "receipt", 0.0, 1, datetime.now(UTC))
        job = JobIdentity.of(message, work._rules, "arn")
        order = work.prepare(dialect_of(text).parse_request(text), job)
        return await work.do(order, hold or FakeHold(), self.progress)


def _argument(uri: str) -> dict[str, str]:
    kind = "input" if uri.startswith("s3://source/") else "output"
    return {"type": kind, "name": f"--{kind[: -len('put')]}", "value": uri}


@contextmanager
def command_env(root: Path) -> Iterator[CommandEnv]:
    """Yield an environment whose directory and budgets must be as before at the end."""
    with open_space(root, 64 * MIB) as space:
        env = CommandEnv(space)
        yield env
        assert not list(root.glob("job-*"))
        assert env.stage.budget.used == 0
        assert not any(store.pending for store in env.stores.values())
