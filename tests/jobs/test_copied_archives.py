"""A strategy says how bytes get into an archive, never which: whatever can't be copied goes through the worker."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fakes import FakeNotifier, FakeRoles
from worker.pipeline_env import RULES, PipelineEnv

from archiver.core.layout import MIB, MIN_PART_SIZE
from archiver.core.locations import AllowList, Location, Role
from archiver.core.traffic import traffic_fields
from archiver.errors import CopyRefused, Rejected, TransientError
from archiver.jobs.copies import Copies
from archiver.stages import copying
from stages.builders import StageEnv, random_bytes

VIDEO = random_bytes(13 * MIB)
PHOTO = VIDEO[: 6 * MIB]
TRAFFIC = ("bytes_copied", "bytes_streamed", "requests")


@dataclass
class Capability:
    """A CopyCapability. *far*: buckets of other regions."""

    proves: bool = True
    far: set[str] = field(default_factory=set)
    asked: int = 0

    async def proved(self) -> bool:
        self.asked += 1
        return self.proves

    def refuted(self) -> bool:
        return self.asked > 0 and not self.proves

    def reaches(self, bucket: str) -> bool:
        return bucket not in self.far


@dataclass
class CopyEnv:
    """A pipeline on a store that copies, with two videos and a photo."""

    setting: Any = None
    capability: Capability = field(default_factory=Capability)

    def __post_init__(self) -> None:
        stage = StageEnv(total=30 * MIB)
        stage.store.min_part_bytes = MIN_PART_SIZE
        copies = Copies(self.capability, 10 * MIB)
        self.reader = stage.reader
        self.env = PipelineEnv(stage, rules=replace(RULES, strategy=self.setting), copies=lambda: copies)
        self.faults, self.events = stage.store.faults, stage.store.events
        self.data = {"1.mp4": VIDEO, "2.jpg": PHOTO, "3.mp4": VIDEO[1:]}
        for key, body in self.data.items():
            stage.s3.put("source", key, body)

    async def run(self, **request: Any) -> dict[str, Any]:
        """The `archive` of the answer; its members are checked."""
        done = await self.env.run(*self.data, **request)
        assert self.env.archive() == self.data
        assert not self.env.stage.store.pending
        archive = dict(self.env.answer["archive"])
        assert traffic_fields(done.traffic) == {name: archive[name] for name in TRAFFIC if name in archive}
        return archive

    def streamed(self, archive: dict[str, Any]) -> bool:
        return (archive["bytes_copied"], archive["bytes_streamed"]) == (0, archive["size"])


async def test_auto_copies_the_videos_and_says_so() -> None:
    made = await CopyEnv().run(strategy="auto")

    header = 30 + len("1.mp4") + 9
    assert made["bytes_copied"] == len(VIDEO) - (MIN_PART_SIZE - header) + len(VIDEO[1:])
    assert made["bytes_copied"] + made["bytes_streamed"] == made["size"]
    heads, gets, parts = 3 + 1, 2, 5
    others = 5  # the upload begins and is completed, the receipt, two lists
    assert made["requests"] == heads + gets + parts + others


async def test_copy_takes_what_s3_copies_of_smaller_members_as_well() -> None:
    job = CopyEnv()
    job.data = {"1.mp4": VIDEO, "2.jpg": PHOTO, "4.jpg": PHOTO}
    job.env.stage.s3.put("source", "4.jpg", PHOTO)

    assert (await job.run(strategy="copy"))["bytes_copied"] > 13 * MIB


@pytest.mark.parametrize(("setting", "asked"), [("auto", None), ("stream", "copy")])
async def test_a_request_goes_before_the_setting(setting: str | None, asked: str | None) -> None:
    made = await CopyEnv(setting).run(**({"strategy": asked} if asked else {}))

    assert made["bytes_copied"] > 0


@pytest.mark.parametrize(("setting", "asked"), [("stream", None), ("auto", "stream")])
async def test_stream_copies_nothing_and_asks_the_store_for_nothing(setting: str, asked: str | None) -> None:
    job = CopyEnv(setting)

    assert job.streamed(await job.run(**({"strategy": asked} if asked else {})))
    assert job.capability.asked == 0


async def test_without_a_strategy_nothing_of_it_is_in_the_answer() -> None:
    job = CopyEnv()

    made = await job.run()

    assert not set(TRAFFIC) & set(made)
    assert job.capability.asked == 0


@pytest.mark.parametrize("strategy", ["auto", pytest.param("copy", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "capability", [Capability(proves=False), Capability(far={"source"})], ids=["unproved", "another region"]
)
async def test_where_nothing_can_be_copied_all_is_streamed(capability: Capability, strategy: str) -> None:
    job = CopyEnv(capability=replace(capability))

    assert job.streamed(await job.run(strategy=strategy))


@pytest.mark.slow
async def test_compressed_archives_are_streamed() -> None:
    made = await CopyEnv().run(strategy="copy", compression="deflate")

    assert made["bytes_copied"] == 0


def use(job: CopyEnv, **data: bytes) -> None:
    """Put other objects in the place of the videos."""
    job.data = data
    for key, body in data.items():
        job.env.stage.s3.put("source", key, body)


async def test_auto_reads_objects_that_gain_nothing_in_one_pass_and_does_not_try_the_store() -> None:
    job = CopyEnv()
    use(job, **{f"{number}.jpg": PHOTO[: 50_000 * number] for number in range(1, 30)}, large=PHOTO)

    made = await job.run(strategy="auto")

    assert (job.reader.heads, len(job.reader.gets)) == ([], len(job.data))
    assert job.capability.asked == 0
    assert job.streamed(made)


async def test_a_plan_without_anything_to_copy_does_not_try_the_store_either() -> None:
    job = CopyEnv()
    use(job, a=PHOTO[:50_000], b=PHOTO[:9])

    made = await job.run(strategy="auto", on_missing="skip")

    assert len(job.reader.heads) == 2
    assert job.streamed(made) and job.capability.asked == 0


async def test_copy_plans_all_of_them_to_copy_whatever_can_be() -> None:
    job = CopyEnv()
    use(job, a=PHOTO[:4], b=PHOTO[4:8])

    await job.run(strategy="copy")

    assert len(job.reader.heads) == 2


async def test_auto_gives_up_one_pass_where_a_large_object_comes_early() -> None:
    """Nothing was sent by then, and the large objects were not read but for what came along with the head."""
    job = CopyEnv()

    made = await job.run(strategy="auto")

    assert made["bytes_copied"] > 20 * MIB
    assert len(job.reader.heads) == 3 and len(job.reader.gets) <= 3 + 1
    assert job.events.count("begin") == 1
    assert sum(length for _, _, length in job.reader.reads) < len(PHOTO) + 3 * MIN_PART_SIZE


async def test_auto_gives_up_what_it_has_sent_where_a_larger_object_comes_later() -> None:
    job = CopyEnv()
    film = random_bytes(40 * MIB)
    use(job, **{f"p{number:02}": VIDEO[number : number + MIB // 2] for number in range(32)}, v=film)
    job.reader.faults.plan("head", nth=33, delay=0.5)

    made = await job.run(strategy="auto")

    assert made["bytes_copied"] == len(film)
    assert (job.events.count("begin"), job.events.count("abort")) == (2, 1)


async def test_auto_goes_on_in_one_pass_where_more_was_read_than_copies_would_save() -> None:
    job = CopyEnv()
    use(job, **{f"{number:02}": VIDEO[number : number + MIB] for number in range(40)}, z=VIDEO)

    made = await job.run(strategy="auto")

    assert job.streamed(made) and job.reader.heads == []


async def test_auto_where_the_store_has_shown_that_it_does_not_copy_stays_in_one_pass() -> None:
    job = CopyEnv(capability=Capability(proves=False))
    assert job.streamed(await job.run(strategy="auto"))
    asked = len(job.reader.heads)

    assert job.streamed(await job.run(strategy="auto", job_id="the next"))
    assert len(job.reader.heads) == asked


@pytest.mark.parametrize("nth", [pytest.param(1, marks=pytest.mark.slow), 2])
async def test_a_copy_that_is_refused_in_the_middle_is_made_up_for_by_streaming(nth: int) -> None:
    """That bucket is not copied from for a while; and nobody but the log is told."""
    job = CopyEnv()
    where = Location("source", "3.mp4")
    job.faults.plan("copy", CopyRefused("S3 returned 403 AccessDenied", where), nth=nth)

    assert job.streamed(await job.run(strategy="auto"))
    copied = job.faults.calls["copy"]
    assert job.streamed(await job.run(strategy="auto", job_id="the next"))
    assert job.faults.calls["copy"] == copied


async def test_copies_that_keep_failing_are_made_up_for_by_streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "COPY_RETRY_SECONDS", 0.0)
    job = CopyEnv()
    job.faults.plan("copy", TransientError("lost"), times=0)

    assert job.streamed(await job.run(strategy="auto"))


async def test_an_object_that_is_replaced_once_is_in_the_archive_as_it_is_then() -> None:
    """Its new bytes, all of them; its old ones in no part."""
    job = CopyEnv()
    new = VIDEO[::-1]

    with_copy = job.env.stage.store.create_upload

    async def replaced(target: Any) -> Any:
        upload = await with_copy(target)
        if job.data["1.mp4"] is not new:
            job.data["1.mp4"] = new
            job.env.stage.s3.put("source", "1.mp4", new)
        return upload

    job.env.stage.store.create_upload = replaced  # type: ignore[method-assign]
    made = await job.run(strategy="auto")
    assert made["bytes_copied"] > 0


async def test_an_object_that_keeps_changing_is_source_changed() -> None:
    job = CopyEnv()
    begin, version = job.env.stage.store.create_upload, 0

    async def replaced(target: Any) -> Any:
        nonlocal version
        version += 1
        job.env.stage.s3.put("source", "1.mp4", VIDEO[version:] + VIDEO[:version])
        return await begin(target)

    job.env.stage.store.create_upload = replaced  # type: ignore[method-assign]
    with pytest.raises(Rejected, match=r"1\.mp4 changed each time") as caught:
        await job.env.run(*job.data, strategy="auto")
    assert caught.value.code == "source_changed"
    assert not [at for at in job.env.stage.s3.objects if at.key.endswith(".zip")]


async def test_the_same_request_with_another_strategy_is_the_same_job() -> None:
    job = CopyEnv()
    await job.run(strategy="auto", job_id="j")

    done = await job.env.run(*job.data, strategy="stream", job_id="j")

    assert done.reused
    assert isinstance(job.env.answers, FakeNotifier)


async def test_what_is_read_with_a_role_is_streamed_and_the_rest_of_its_archive_is_copied() -> None:
    """One identity must read and write. The role reads its object, and nothing else."""
    arn = "arn:aws:iam::210987654321:role/exports"
    env = CopyEnv("copy")
    roles = FakeRoles()
    listed = {arn: Role(AllowList.of(["partner"], "archives"))}
    env.env.rules = replace(env.env.rules, roles=listed)
    env.env.roles = roles
    env.env.pipeline = env.env.make()
    env.env.stage.s3.put("partner", "4.mp4", VIDEO[2:], role=arn)
    files = [{"source": "1.mp4"}, {"source": "s3://partner/4.mp4", "role_arn": arn}, {"source": "3.mp4"}]

    await env.env.run(files=files)

    assert env.env.archive() == {"1.mp4": VIDEO, "4.mp4": VIDEO[2:], "3.mp4": VIDEO[1:]}
    archive = env.env.answer["archive"]
    assert archive["bytes_copied"] > 2 * (13 * MIB - MIN_PART_SIZE) - 100 and archive["bytes_streamed"] > 13 * MIB
    assert roles.assumed == [arn]
