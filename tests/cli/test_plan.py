"""`archiver plan` tells what a request comes to, and a worker's job then takes exactly that."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pytest
from faults.emulator import Emulator
from faults.operations import PUT_RECEIPT
from faults.rules import Status
from faults.scenario import MIB, Scenario, ScenarioConfig
from faults.worker_process import wait_until
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from .cli_process import cli_environment

BUDGET = {"MEMORY_BUDGET_MIB": "64"}  # with the least, bodies that come early may be read twice


@dataclass
class Agreement:
    """A worker behind a proxy, and plans of what it is going to do."""

    scenario: Scenario
    env: dict[str, str]

    def plan(self, request: dict[str, Any]) -> dict[str, Any]:
        ended = run_command("plan", "--json", *self._arguments(request), env=self.env)
        assert ended.returncode == 0, ended.stderr
        told: dict[str, Any] = json.loads(ended.stdout)
        return told

    def do(self, request: dict[str, Any]) -> tuple[Counter[str], bytes]:
        """Have the worker do it: how often it called each operation for it, and the archive."""
        before = len(self.scenario.history.select(client="worker"))
        job = self.scenario.send(request["files"], None, **{k: v for k, v in request.items() if k != "files"})
        self.scenario.wait_deleted(job)
        calls = self.scenario.history.select(client="worker")
        taken = Counter(NAMES.get(call.op, call.op) for call in calls[before:])
        # The queue is asked again and again, and was before there was a message: one of the answers holds it.
        told = [message["id"] for call in calls for message in call.facts.get("messages", ())]
        taken["ReceiveMessage"] = told.count(job.message)
        return taken, self.scenario.archive(job)

    def _arguments(self, request: dict[str, Any]) -> list[str]:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in request.items() if name != "files"]
        return [*options, *(f"--file={'='.join(file.values())}" for file in request["files"])]


@pytest.fixture(scope="module")
def agreement(emulator: Emulator) -> Iterator[Agreement]:
    with Scenario(emulator, ScenarioConfig()) as scenario:
        worker = scenario.worker(**BUDGET)
        wait_until(lambda: "worker.ready" in worker.log, "a worker to be ready")
        scenario.put("small.jpg", b"a photo" * 1000)
        scenario.put("text.txt", b"words, words, words. " * 50_000)
        scenario.put("film.mp4", bytes(13 * MIB))
        scenario.put("empty", b"")
        yield Agreement(scenario, cli_environment(scenario, **BUDGET))


NAMES = {PUT_RECEIPT: "PutObject", "ListObjects": "ListObjectsV2"}
"""The names of S3's operations where the proxy has others."""


def files(*names: str) -> list[dict[str, str]]:
    return [{"source": name, "destination": f"{number}/"} for number, name in enumerate(names)]


JOBS: dict[str, dict[str, Any]] = {
    "one small file": {"files": files("small.jpg")},
    "several parts, a large object in ranges": {"files": files("small.jpg", "film.mp4", "text.txt")},
    "an object of exactly one part and a little": {"files": files("film.mp4", "film.mp4")},
    "empty files only": {"files": files("empty", "empty")},
    "empty files among others": {"files": files("empty", "film.mp4", "empty", "small.jpg", "empty")},
    "one object many times": {"files": files(*["small.jpg"] * 7)},
    "missing ones are skipped": {"files": files("gone.jpg", "small.jpg", "gone.jpg"), "on_missing": "skip"},
    "duplicates are skipped": {
        "files": [{"source": name, "destination": "same.jpg"} for name in ("small.jpg", "gone.jpg")],
        "on_duplicate": "skip",
    },
    "compressed, one part": {"files": files("text.txt", "small.jpg"), "compression": "deflate"},
}


@pytest.mark.parametrize("request_", JOBS.values(), ids=JOBS.keys())
def test_worker_makes_exactly_the_calls_and_the_archive_that_were_planned(
    agreement: Agreement, request_: dict[str, Any]
) -> None:
    planned = agreement.plan(request_)
    calls, archive = agreement.do(request_)

    assert dict(calls) == planned["calls"]
    with ZipFile(BytesIO(archive)) as opened:
        assert [(one.filename, one.file_size) for one in opened.infolist()] == [
            (member["path"], member["size"]) for member in planned["members"]
        ]
    if planned["archive"]["exact"]:
        assert len(archive) == planned["archive"]["size"]
    assert len(archive) <= planned["archive"]["size"]


def test_of_a_compressed_archive_of_several_parts_no_more_calls_are_made_than_planned(agreement: Agreement) -> None:
    request = {"files": files("film.mp4", "text.txt", "empty"), "compression": "deflate"}
    planned = agreement.plan(request)
    calls, archive = agreement.do(request)

    assert not planned["archive"]["exact"]
    assert len(archive) < planned["archive"]["size"]
    assert calls["GetObject"] == planned["calls"]["GetObject"] > 13
    assert calls["HeadObject"] == planned["calls"]["HeadObject"]
    written = [name for name in ("PutObject", "UploadPart") if name in calls]
    assert sum(calls[name] for name in written) <= planned["calls"]["UploadPart"] + 1  # the receipt


def test_a_plan_tells_both_ways_where_copies_are_asked_for(agreement: Agreement) -> None:
    request = {"files": files("film.mp4")}
    streamed, both = agreement.plan(request), agreement.plan({**request, "strategy": "copy"})

    assert "copied" not in streamed
    assert both["calls"] == streamed["calls"]
    copied = both["copied"]
    assert copied["bytes_copied"] + copied["bytes_streamed"] == both["archive"]["size"]
    assert copied["bytes_copied"] > 7 * MIB
    assert (copied["calls"]["UploadPartCopy"], copied["calls"]["UploadPart"]) == (1, 2)
    assert copied["cost"]["dollars"] > 0 < copied["time"]["seconds"]


def test_denied_objects_cost_the_read_that_tells_why(agreement: Agreement) -> None:
    scenario = agreement.scenario
    scenario.put("secret.jpg", b"a secret")
    scenario.inject(Status(403, "AccessDenied"), key="secret.jpg", times=None)
    request = {"files": files("secret.jpg", "small.jpg"), "on_missing": "skip"}
    try:
        planned = agreement.plan(request)
        calls, _ = agreement.do(request)
    finally:
        scenario.clear_faults()

    assert planned["missing"][0]["code"] == "source_denied"
    # What was read before is asked for: is it one object that is denied, or we? It is, and is asked for once more.
    planned["calls"]["GetObject"] += 2
    planned["calls"]["HeadObject"] += 2
    assert dict(calls) == planned["calls"]


def test_plan_asks_for_objects_and_for_nothing_else(agreement: Agreement) -> None:
    """Neither a queue nor a destination bucket is known to it."""
    scenario = agreement.scenario
    before = len(scenario.history.select(client="command"))
    env = {k: v for k, v in agreement.env.items() if not k.startswith("SQS_") and k != "S3_DESTINATION_BUCKET"}

    ended = run_command("plan", "--file", "film.mp4", "--file", "small.jpg", env=env)

    assert ended.returncode == 0, ended.stderr
    assert [call.op for call in scenario.history.select(client="command")[before:]] == ["HeadObject"] * 2


def test_plan_for_people_is_plain_and_aligned(worker_env: WorkerEnv) -> None:
    worker_env.put("2023/beach.jpg", b"1" * 2_400_000)
    worker_env.put("2024/beach.jpg", b"2" * 99)
    worker_env.put("日本.jpg", b"3")

    files = ["--file=2023/beach.jpg=album", "--file=2024/beach.jpg=album", "--file=日本.jpg", "--file=gone.jpg"]
    ended = run_command("plan", *files, "--on-missing=skip", env=worker_env.settings())

    bucket = worker_env.sources
    assert (ended.returncode, ended.stderr) == (0, "")
    facts, about, missing, table = (block.splitlines() for block in _blocks(ended.stdout))
    assert [line.split("  ")[0].strip() for line in facts] == ["archive", "upload", "calls", "cost", "time"]
    assert facts[0].endswith(" bytes), partial: some requested files are missing")
    assert facts[1].endswith(" 1 part")
    assert "6 HeadObject, 1 ListObjectsV2, 3 GetObject, 2 PutObject" in facts[2]  # one more tells why one is missing
    assert about == ["missing:", "  gone.jpg: source_missing (no such key or bucket)"]
    assert missing == ["renamed:", "  album/beach.jpg is now album/beach (2).jpg"]
    assert table == [
        "    size  path                 source",
        f"  2.4 MB  album/beach.jpg      s3://{bucket}/2023/beach.jpg",
        f"99 bytes  album/beach (2).jpg  s3://{bucket}/2024/beach.jpg",
        f"  1 byte  日本.jpg             s3://{bucket}/日本.jpg",
        "24 bytes  _MISSING.txt         (generated by the archiver)",
    ]


def _blocks(text: str) -> list[str]:
    return text.strip("\n").split("\n\n")


def test_first_members_are_shown_and_all_of_them_where_that_is_wanted(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    files = [f"--file=a.jpg=album/{n}.jpg" for n in range(23)]

    some, every = (run_command("plan", *files, *more, env=worker_env.settings()).stdout for more in ((), ("--all",)))

    assert some.count("  album/") == 20
    assert some.endswith("and 3 more (--all lists all)\n")
    assert every.count("  album/") == 23
    assert "more" not in every


def test_job_that_would_be_rejected_is_exit_code_1_with_every_problem_on_a_line(worker_env: WorkerEnv) -> None:
    worker_env.put("here.jpg")
    files = ["--file=gone.jpg", "--file=here.jpg", *(f"--file=gone-{n}.jpg" for n in range(40))]

    plain, data = (run_command("plan", *files, *more, env=worker_env.settings()) for more in ((), ("--json",)))

    assert (plain.returncode, plain.stdout) == (1, "")
    assert plain.stderr.splitlines() == [
        "source_missing: 41 objects can't be read",
        "  gone.jpg: source_missing (no such key or bucket)",
        *(f"  gone-{n}.jpg: source_missing (no such key or bucket)" for n in range(40)),
    ]
    told = json.loads(data.stdout)
    assert (data.returncode, told["status"], told["error"]["code"]) == (1, "failed", "source_missing")
    assert [one["source"] for one in told["error"]["sources"]] == ["gone.jpg", *(f"gone-{n}.jpg" for n in range(40))]


def test_problems_of_the_request_itself_are_told_by_their_place(worker_env: WorkerEnv) -> None:
    files = ["--file=a.jpg=../x.jpg", "--file=a.jpg", "--file=b.jpg=C:/x.txt"]

    ended = run_command("plan", *files, env=worker_env.settings())

    first, second = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert first.startswith("name_unsafe: $.files[0]")
    assert second.startswith("$.files[2]")


def test_problems_of_several_kinds_are_all_told_at_once(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    files = ["--file=a.jpg=x.jpg", "--file=gone.jpg=x.jpg", "--file=s3://elsewhere/1.jpg", "--file=b.jpg=../x.jpg"]

    ended = run_command("plan", *files, "--on-duplicate=fail", env=worker_env.settings())
    told = json.loads(run_command("plan", *files, "--on-duplicate=fail", "--json", env=worker_env.settings()).stdout)

    assert ended.returncode == 1
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == [
        "source_not_allowed",
        "name_unsafe",
        "name_conflict",
        "source_missing",
    ]
    assert [error["code"] for error in told["errors"]] == [
        "source_not_allowed",
        "name_unsafe",
        "name_conflict",
        "source_missing",
    ]
    assert told["error"] == told["errors"][0], "which a worker would say"


def test_every_file_of_a_long_list_of_refused_ones_is_named(worker_env: WorkerEnv) -> None:
    files = [f"--file=s3://elsewhere/{n}.jpg" for n in range(250)]

    ended = run_command("plan", *files, env=worker_env.settings())

    lines = ended.stderr.splitlines()
    assert lines[0].startswith("source_not_allowed: $.files[0].source s3://elsewhere/0.jpg is outside")
    assert lines[19].startswith("$.files[19].source")
    assert lines[20] == "  s3://elsewhere/20.jpg: source_not_allowed"
    assert lines[-2:] == ["  s3://elsewhere/219.jpg: source_not_allowed", "  and 30 more (--json lists all)"]


def test_nothing_that_a_terminal_obeys_comes_out_of_a_name(worker_env: WorkerEnv) -> None:
    worker_env.put("evil\x1b[2J.jpg")

    ended = run_command(
        "plan", "--file", "evil\x1b[2J.jpg", "--file", "gone\x1b[2J", "--on-missing=skip", env=worker_env.settings()
    )

    assert ended.returncode == 0
    assert "\x1b" not in ended.stdout + ended.stderr
    assert "evil\N{REPLACEMENT CHARACTER}[2J.jpg" in ended.stdout


def test_more_latency_is_more_time(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    quick, slow = (
        json.loads(run_command("plan", "--json", "--file=a.jpg", f"--latency={ms}", env=worker_env.settings()).stdout)[
            "time"
        ]
        for ms in (0, 500)
    )

    assert (quick["latency"], slow["latency"]) == (0, 0.5)
    assert slow["seconds"] >= 1 > quick["seconds"]


def test_help_has_an_example() -> None:
    ended = run_command("plan", "--help")

    assert ended.returncode == 0
    assert "Example: archiver plan request.json" in ended.stdout
