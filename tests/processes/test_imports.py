"""What is off costs nothing: a worker imports the door that its settings name, and no optional module."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from receivers import Receivers, receivers

from .worker_env import WorkerEnv

if TYPE_CHECKING:
    from emulator import EmulatedAws

__all__ = ["receivers"]

# Runs a worker until it is ready, stops it, and prints the modules that were imported.
RUN = """
import asyncio, os, sys
import structlog
from archiver.app import serve
from archiver.settings import load_settings

async def main():
    stop = asyncio.Event()
    def until_ready(_logger, _method, event):
        if event["event"] == "worker.ready":
            stop.set()
        raise structlog.DropEvent
    structlog.configure(processors=[until_ready])
    await serve(load_settings(dict(os.environ)), stop)

asyncio.run(main())
print(*sys.modules.keys() - BEFORE, *MODELS)
"""

# Notes what is imported already (measuring coverage starts in each process, and imports), and which of botocore's data
# files are read.
WATCH = """
import sys
BEFORE = set(sys.modules)
import botocore.loaders
MODELS = []
load = botocore.loaders.JSONFileLoader.load_file
def watched(self, path):
    MODELS.append("data:" + path.rpartition("/data/")[2])
    return load(self, path)
botocore.loaders.JSONFileLoader.load_file = watched
"""

OF_THE_FUNCTION = {
    "archiver.aws.event_queues",
    "archiver.core.event_rules",
    "archiver.core.events",
    "archiver.core.function_time",
    "archiver.doors.events",
}

OPTIONAL = OF_THE_FUNCTION | {
    "archiver.aws.s3_changes",
    "archiver.aws.s3_copy",
    "archiver.aws.s3_copy_probe",
    "archiver.aws.ecs",
    "archiver.aws.ecs_service",
    "archiver.aws.event_bus",
    "archiver.aws.functions",
    "archiver.aws.notifiers",
    "archiver.aws.presigned",
    "archiver.aws.references",
    "archiver.aws.roles",
    "archiver.aws.signed_urls",
    "archiver.aws.sns",
    "archiver.aws.dsn_session",
    "archiver.aws.invoke",
    "archiver.aws.task_log",
    "archiver.aws.task_input",
    "archiver.aws.tasks",
    "archiver.aws.command_credentials",
    "archiver.command",
    "archiver.command.docker",
    "archiver.command.files",
    "archiver.command.native",
    "archiver.command.run",
    "archiver.command.space",
    "archiver.command.streams",
    "archiver.core.command_memory",
    "archiver.core.command_outputs",
    "archiver.core.command_verdict",
    "archiver.doors.commands",
    "archiver.jobs.command",
    "archiver.jobs.command_inputs",
    "archiver.jobs.command_memory",
    "archiver.jobs.command_outputs",
    "archiver.jobs.command_run",
    "archiver.stages.from_files",
    "archiver.stages.to_files",
    "archiver.core.after",
    "archiver.core.changes",
    "archiver.core.command_order",
    "archiver.core.command_requests",
    "archiver.core.command_result",
    "archiver.core.command_templates",
    "archiver.core.command_values",
    "archiver.core.command_words",
    "archiver.core.commands",
    "archiver.core.dialects.commands",
    "archiver.core.dialects.lanlytics",
    "archiver.core.dialects.mcai",
    "archiver.core.dialects.mcai_parameters",
    "archiver.core.copies",
    "archiver.core.copy_ledger",
    "archiver.core.estimate",
    "archiver.core.manifest",
    "archiver.core.operator_argv",
    "archiver.core.operator_commands",
    "archiver.core.operator_parameters",
    "archiver.core.policy_fields",
    "archiver.core.operator_after",
    "archiver.core.operator_archives",
    "archiver.core.operator_callbacks",
    "archiver.core.operator_policy",
    "archiver.core.operator_roles",
    "archiver.core.policy_text",
    "archiver.core.invocations",
    "archiver.core.task_wait",
    "archiver.core.tasks",
    "archiver.doors.tasks",
    "archiver.doors.ways_out",
    "archiver.http.guard",
    "archiver.jobs.best_effort",
    "archiver.core.orders",
    "archiver.core.profiles",
    "archiver.doors.after",
    "archiver.doors.order_answers",
    "archiver.doors.order_source",
    "archiver.doors.orders",
    "archiver.doors.amqp",
    "archiver.amqp",
    "archiver.amqp.connection",
    "archiver.amqp.publishing",
    "archiver.amqp.source",
    "archiver.doors.cancellation",
    "archiver.doors.copies",
    "archiver.doors.resuming",
    "archiver.core.build_record",
    "archiver.jobs.janitor",
    "archiver.jobs.record_keeper",
    "archiver.jobs.records",
    "archiver.jobs.resuming",
    "archiver.jobs.cancellation",
    "archiver.jobs.copies",
    "archiver.stages.copying",
    "archiver.jobs.after",
    "archiver.stages.after",
    "archiver.worker.guarded_changes",
    "archiver.jobs.long_answers",
    "archiver.jobs.webhook",
    "re2",
    "archiver.telemetry.health_server",
    "archiver.telemetry.prometheus",
    "archiver.telemetry.traces",
    "opentelemetry",
}
"""Modules that only a setting brings in."""


def imported(env: WorkerEnv, **settings: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", WATCH + RUN],
        env={**os.environ, **env.settings(**settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())


def test_a_worker_imports_the_door_that_its_settings_name_and_nothing_optional(aws: "EmulatedAws") -> None:
    with WorkerEnv(aws) as env:
        modules = imported(env, RESUME_FROM_MIB="0")
    ours = {name for name in modules if name.startswith("archiver.")}

    assert {name for name in ours if name.startswith("archiver.doors")} == {
        "archiver.doors",
        "archiver.doors.destination",
        "archiver.doors.door",
        "archiver.doors.links",
        "archiver.doors.sources",
        "archiver.doors.sqs",
        "archiver.doors.start",
        "archiver.doors.works",
    }
    assert all(find_spec(name) for name in OPTIONAL)
    assert ours & OPTIONAL == set()
    assert not {name for name in ours if name.startswith(("archiver.local", "archiver.cli"))}
    assert any(name.startswith("data:sqs/") for name in modules)
    assert not {name for name in modules if name.startswith("data:s3/")}, "S3 is called without the SDK"
    foreign = {"aio_pika", "aiormq", "pamqp", "moto", "typer", "cryptography", "aiohttp.web", "tomllib"}
    assert not {name for name in modules if name.partition(".")[0] in foreign}
    assert {name.partition(".")[2].partition(".")[0] for name in ours} == {
        "app",
        "aws",
        "core",
        "doors",
        "errors",
        "http",
        "jobs",
        "ports",
        "settings",
        "stages",
        "telemetry",
        "worker",
    }


def test_a_setting_brings_in_what_it_turns_on(aws: "EmulatedAws", receivers: Receivers, tmp_path: Path) -> None:
    """Else the test above would hold for names that do not exist."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[roles."arn:aws:iam::210987654321:role/exports"]\nsources = ["partner"]\n[after]\ndelete = ["partner"]\n'
        '[callbacks]\nhosts = ["a.b"]\n[commands.c]\nargv = ["true"]\n'
    )
    with WorkerEnv(aws) as env:
        ways_out = {
            "NOTIFY_SNS_TOPIC": receivers.topic()[0],
            "NOTIFY_EVENT_BUS": receivers.bus(),
            "NOTIFY_LAMBDA": receivers.function(),
        }
        others = {
            "HEALTH_PORT": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "LINKS": "presigned",
            "ARCHIVE_BASE_URL": "",
            "POLICY_FILE": str(policy),
        }
        modules = imported(env, CANCELLATION="1", AWS_PROFILES_CREDENTIALS="p;k;s;eu-west-1", **ways_out, **others)

    elsewhere = {"archiver.aws.ecs", "archiver.aws.ecs_service", "archiver.aws.references", "archiver.aws.signed_urls"}
    elsewhere |= {
        name for name in OPTIONAL if "task" in name or name.endswith(("dsn_session", "invoke", "invocations"))
    }
    by_requests = {"archiver.core.manifest", "archiver.jobs.long_answers", "re2"}
    by_requests |= {name for name in OPTIONAL if name.startswith(("archiver.core.command_", "archiver.core.dialects."))}
    by_requests |= {name for name in OPTIONAL if "cop" in name or name == "archiver.core.estimate"}
    of_another_door = {name for name in OPTIONAL if ".order" in name or "amqp" in name} | OF_THE_FUNCTION
    assert modules >= OPTIONAL - elsewhere - by_requests - of_another_door


def test_order_files_bring_in_their_own_door_alone(aws: "EmulatedAws", tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text('{"files": [{"source": "a.jpg"}]}')
    with WorkerEnv(aws) as env:
        modules = imported(env, SQS_SOURCE_QUEUE="", SOURCE_ORDERS=str(tmp_path / "order.json"))

    assert modules >= {name for name in OPTIONAL if ".order" in name}
    assert "archiver.doors.sqs" not in modules
