"""A pipeline on the fakes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fakes import FakeChanges, FakeDeadLetters, FakeHold, FakeNotifier, FakeQueue, FakeRestorer, FakeUploads

from archiver.core.archive_rules import ArchiveRules
from archiver.core.build_record import source_hash
from archiver.core.locations import AllowList, Location, PlainLinks
from archiver.jobs.after import AfterJob
from archiver.jobs.answers import Answers, Fanout
from archiver.jobs.archive import ArchiveWork
from archiver.jobs.copies import Copies
from archiver.jobs.janitor import Janitor
from archiver.jobs.ping import PingWork
from archiver.jobs.pipeline import Pipeline
from archiver.jobs.records import Bucket
from archiver.jobs.resuming import Resumes
from archiver.ports import Attribute, JobSuccess, Message, Notifier, QueueFacts, Roles
from archiver.stages.after import AfterStage
from stages.builders import StageEnv, read_zip

ARN = "arn:aws:sqs:eu-west-1:123456789012:source"


RULES = ArchiveRules("source", "archives", AllowList("archives"), "store")


@dataclass
class PipelineEnv:
    """A pipeline on the fakes; the source bucket is `source`, the archives' `archives`."""

    stage: StageEnv = field(default_factory=lambda: StageEnv(total=15 << 20))
    compression: str = "store"
    answers: FakeNotifier | None = field(default_factory=FakeNotifier)
    failures: FakeNotifier = field(default_factory=FakeNotifier)
    watcher: FakeNotifier | None = None
    dead: FakeQueue = field(default_factory=FakeQueue)
    said: int = 0
    rules: ArchiveRules = RULES
    roles: Roles | None = None
    changes: FakeChanges | None = None
    callbacks: Callable[[str], Notifier] | None = None
    by_reference: bool = False
    copies: Callable[[], Copies] | None = None
    resume_from: int | None = None
    lists_crcs: bool = True

    def __post_init__(self) -> None:
        self.uploads = FakeUploads(self.stage.store, lists_crcs=self.lists_crcs)
        self.queue = FakeQueue(QueueFacts(ARN, 30, 43_200, 5), dead_letters=self.dead)
        self.pipeline = self.make()

    def make(self) -> Pipeline:
        rules, stage, work = self.rules, self.stage, self.work()
        return Pipeline(
            rules,
            {"archive": work, "ping": PingWork(rules, work.planner, work.waiter)},
            facts=self.queue.facts,
            store=stage.store,
            receipts=stage.receipts,
            dead_letters=FakeDeadLetters(self.queue.dead_letters),
            answers=Answers(
                Fanout() if self.answers is None else Fanout(self.answers),
                Fanout(self.failures),
                self.watcher,
                self.answers,
                self.callbacks,
                by_reference=self.by_reference,
            ),
            links=PlainLinks("https://links.example/", "archives"),
            janitor=self.janitor if self.resume_from is not None else None,
        )

    @property
    def bucket(self) -> Bucket:
        stage = self.stage
        return Bucket("archives", self.uploads, stage.receipts, stage.fetcher)

    @property
    def janitor(self) -> Janitor:
        return Janitor(self.bucket, source_hash(ARN), timedelta(seconds=self.queue.facts.retention))

    def resumes(self) -> Resumes | None:
        if self.resume_from is None:
            return None
        budget = self.stage.total
        return Resumes(self.bucket, threshold=self.resume_from, source=source_hash(ARN), budget=budget)

    def work(self, restorer: FakeRestorer | None = None) -> ArchiveWork:
        stage = self.stage
        return ArchiveWork(
            self.rules,
            fetcher=stage.fetcher,
            store=stage.store,
            receipts=stage.receipts,
            budget=stage.budget,
            roles=self.roles,
            restorer=restorer,
            after=AfterJob(AfterStage(self.changes), stage.store, stage.fetcher) if self.changes else None,
            copies=self.copies,
            resumes=self.resumes(),
        )

    def put(self, **objects: bytes) -> None:
        for key, data in objects.items():
            self.stage.s3.put("source", key.replace("_", "."), data)

    async def message(self, **request: Any) -> Message:
        attributes = {"traceparent": Attribute("String", "00-1")}
        self.queue.put(json.dumps(request), attributes)
        return (await self.queue.receive(1))[0]

    async def run(self, *keys: str, **request: Any) -> JobSuccess:
        files = request.pop("files", None) or [{"source": key} for key in keys]
        message = await self.message(files=files, **request)
        return await self.pipeline.run(message, FakeHold())

    @property
    def answer(self) -> dict[str, Any]:
        assert self.answers is not None
        return dict(json.loads(self.answers.sent[-1].body))

    def archive(self) -> dict[str, bytes]:
        return read_zip(self.stage.s3.objects[self.at].data)

    @property
    def at(self) -> Location:
        archives = (at for at in self.stage.s3.objects if at.bucket == "archives" and at.key.endswith(".zip"))
        return next(archives)

    @property
    def receipt_at(self) -> Location:
        (key,) = self.stage.receipts.keys
        return Location("archives", key)
