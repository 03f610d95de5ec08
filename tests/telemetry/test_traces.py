"""Traces of jobs: the tree that a collector sees, and that a collector that is down holds nobody up."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

import pytest
from fakes import FakeObserver
from otlp_collector import ERROR, UNSET, Collected, Collector, collecting
from worker.pipeline_env import PipelineEnv

from archiver.core.messages import Link
from archiver.errors import LeaseLost, TransientError
from archiver.ports import Attribute, Message
from archiver.settings import Settings, SettingsError, load_settings
from archiver.stages.tracing import NO_TRACE
from archiver.worker.gate import ReceiveGate
from archiver.worker.settle import Settler
from archiver.worker.slots import Slots

if find_spec("opentelemetry.sdk") is None and not os.environ.get("CI"):
    pytest.skip("traces need OpenTelemetry: pip install 'archiver[otel]'", allow_module_level=True)

from opentelemetry.sdk.trace import TracerProvider

from archiver.telemetry import traces
from archiver.telemetry.traces import JobTracer, open_tracer

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


def settings(url: str, sampled: float = 1) -> Settings:
    return load_settings(
        {
            "SQS_SOURCE_QUEUE": "in",
            "S3_DESTINATION_BUCKET": "archives",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "TRACES_SAMPLED": str(sampled),
        }
    )


def carrying(message: Message, traceparent: str = "", header: str = "") -> Message:
    """The message with these contexts of a trace."""
    attributes = {"traceparent": Attribute("String", traceparent)} if traceparent else {}
    return replace(message, attributes=attributes, trace_header=header)


async def settle(env: PipelineEnv, message: Message, tracer: JobTracer | None) -> FakeObserver:
    """Do the job of *message*, to the end of its message."""
    observer = FakeObserver()
    settler = Settler(env.queue, env.pipeline, ReceiveGate(), observer, tracer=tracer)
    await settler.handle(message, Slots(1, lambda _: None).claim())
    return observer


def assert_below(job: Collected, spans: dict[str, Collected]) -> None:
    """Each span is of the job's trace, and in its time."""
    for one in spans.values():
        assert one.trace == job.trace
        assert job.start <= one.start <= one.end <= job.end, one.name


STAGES = ["receive", "plan", "upload", "fetch", "assemble", "notify"]


async def test_a_job_that_is_done_is_one_span_with_its_stages_below(collector: Collector) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"x" * 1000, b_jpg=b"y")
    message = carrying(await env.message(files=[{"source": "a.jpg"}, {"source": "b.jpg"}]), SAMPLED)

    async with open_tracer(settings(collector.url, sampled=0)) as tracer:
        await settle(env, message, tracer)

    assert collector.requests == ["/v1/traces"]
    (job,) = collector.jobs()
    assert (job.trace, job.parent, job.status) == (TRACE, SPAN, UNSET)
    assert job.attributes["archiver.outcome"] == "done"
    assert (job.attributes["archiver.files"], job.attributes["messaging.message.id"]) == (2, message.id)
    below = collector.below(job)
    assert list(below) == STAGES
    assert all(one.status == UNSET for one in below.values())
    assert_below(job, below)
    assert env.answers is not None
    handed_on = env.answers.sent[-1].attributes["traceparent"].value
    assert handed_on == f"00-{TRACE}-{job.id}-01", "who gets the answer continues the trace below the job"


async def test_a_compressed_archive_has_the_same_stages(collector: Collector) -> None:
    env = PipelineEnv()
    env.put(a_txt=b"x" * 1000)
    message = carrying(await env.message(files=[{"source": "a.txt"}], compression="deflate"), SAMPLED)

    async with open_tracer(settings(collector.url)) as tracer:
        await settle(env, message, tracer)

    (job,) = collector.jobs()
    assert sorted(collector.below(job)) == sorted(STAGES)


async def test_a_rejected_job_shows_the_stage_that_failed_and_its_failure_answer(collector: Collector) -> None:
    env = PipelineEnv()
    message = carrying(await env.message(files=[{"source": "absent.jpg"}], compression="deflate"), SAMPLED)

    async with open_tracer(settings(collector.url)) as tracer:
        await settle(env, message, tracer)

    (job,) = collector.jobs()
    below = collector.below(job)
    assert (job.status, job.reason) == (ERROR, "rejected: source_missing")
    assert list(below) == ["receive", "plan", "notify"]
    assert (below["plan"].status, below["notify"].status) == (ERROR, UNSET)
    assert below["plan"].reason.startswith("Rejected: source_missing")
    assert env.failures.sent[-1].attributes["traceparent"].value == f"00-{TRACE}-{job.id}-01"
    assert len(env.dead.messages) == 1


async def test_a_retried_job_is_a_second_span_of_the_same_trace(collector: Collector) -> None:
    class NoLinks:
        async def link(self, key: str) -> Link:
            raise TransientError("no route")

    env = PipelineEnv()
    env.put(a_jpg=b"x" * 1000)
    links, env.pipeline._links = env.pipeline._links, NoLinks()
    message = carrying(await env.message(files=[{"source": "a.jpg"}]), SAMPLED)

    async with open_tracer(settings(collector.url)) as tracer:
        await settle(env, message, tracer)
        env.pipeline._links = links
        env.queue.make_visible()
        (again,) = await env.queue.receive(1)
        await settle(env, carrying(again, SAMPLED), tracer)

    first, second = collector.jobs()
    assert (first.trace, first.parent, second.trace, second.parent) == (TRACE, SPAN, TRACE, SPAN)
    assert first.id != second.id
    assert (first.attributes["archiver.outcome"], first.status) == ("retried", ERROR)
    assert list(collector.below(first)) == ["receive", "plan", "upload", "fetch", "assemble"]
    assert (second.attributes["archiver.outcome"], second.attributes["archiver.receive_count"]) == ("done", 2)
    assert list(collector.below(second)) == ["receive", "notify"], "the archive was there"


async def test_a_lost_lease_ends_every_span_that_is_open(collector: Collector) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"x" * 1000)
    message = carrying(await env.message(files=[{"source": "a.jpg"}]), SAMPLED)

    async def lost(*_: object) -> None:
        raise LeaseLost("another consumer has it")

    env.stage.store.put = lost  # type: ignore[method-assign, assignment]
    async with open_tracer(settings(collector.url)) as tracer:
        await settle(env, message, tracer)

    (job,) = collector.jobs()
    below = collector.below(job)
    assert (job.status, job.reason) == (ERROR, "lease_lost: ")
    assert list(below) == ["receive", "plan", "upload", "fetch", "assemble"]
    assert below["assemble"].reason == "LeaseLost: another consumer has it"
    assert below["upload"].status == ERROR


# ---- sampling, and where contexts come from


async def test_jobs_are_sampled_and_those_that_are_not_are_not_sent(collector: Collector) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"x")
    message = carrying(await env.message(files=[{"source": "a.jpg"}]))
    async with open_tracer(settings(collector.url, sampled=0)) as tracer:
        assert tracer.begin(message) is NO_TRACE
        assert tracer.begin(carrying(message, UNSAMPLED)) is NO_TRACE
        await settle(env, message, tracer)
    assert collector.spans == []
    assert env.answers is not None
    assert "traceparent" not in env.answers.sent[-1].attributes

    async with open_tracer(settings(collector.url)) as tracer:
        assert tracer.begin(carrying(message, UNSAMPLED)) is NO_TRACE, "its sender has decided"
        tracer.begin(message).end(None)
    (job,) = collector.jobs()
    assert (job.parent, job.status, job.reason) == ("", ERROR, "defect")


async def test_the_context_of_x_ray_is_continued_or_linked_to(collector: Collector) -> None:
    root = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={SPAN}"
    message = await PipelineEnv().message(files=[{"source": "a"}])

    async with open_tracer(settings(collector.url)) as tracer:
        tracer.begin(carrying(message, header=f"{root};Sampled=1")).end(None)
        tracer.begin(carrying(message, header=root)).end(None)
        assert tracer.begin(carrying(message, header=f"{root};Sampled=0")) is NO_TRACE

    continued, linked = collector.jobs()
    assert (continued.trace, continued.parent, continued.links) == (TRACE, SPAN, [])
    assert (linked.parent, linked.links) == ("", [TRACE])


async def test_an_answer_gets_a_traceparent_only_where_it_has_room(collector: Collector) -> None:
    message = await PipelineEnv().message(files=[{"source": "a"}])
    nine, ten = ({f"a{n}": Attribute("String", "x") for n in range(count)} for count in (9, 10))

    async with open_tracer(settings(collector.url)) as tracer:
        trace = tracer.begin(carrying(message))
        assert "traceparent" in trace.propagate(nine)
        assert trace.propagate(ten) == ten
        replaced = {**nine, "traceparent": Attribute("String", SAMPLED)}
        assert trace.propagate(replaced)["traceparent"] != replaced["traceparent"]
        trace.end(None)


async def test_events_of_a_job_are_limited(collector: Collector) -> None:
    message = await PipelineEnv().message(files=[{"source": "a"}])

    async with open_tracer(settings(collector.url)) as tracer:
        trace = tracer.begin(message)
        for number in range(1000):
            trace.event("read.retried", source=f"s3://b/{number}", received=number)
        trace.end(None)

    (job,) = collector.jobs()
    assert job.events == ["read.retried"] * traces.MAX_EVENTS


# ---- a collector that is down


@pytest.mark.parametrize("how", ["absent", "refuses", "hangs"])
async def test_a_collector_that_is_down_holds_no_job_up_and_fails_none(
    how: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "EXPORT_SECONDS", 0.2)
    collector.answer, collector.hangs = 503 if how == "refuses" else 200, how == "hangs"
    env = PipelineEnv()
    env.put(a_jpg=b"x")
    async with open_tracer(settings("http://127.0.0.1:9" if how == "absent" else collector.url)) as tracer:
        for _ in range(3):
            message = carrying(await env.message(files=[{"source": "a.jpg"}]))
            observer = await settle(env, message, tracer)
            assert [job.outcome for job in observer.seen] == ["done"]
    assert collector.spans == []


async def test_a_tracer_that_raises_costs_no_job(collector: Collector) -> None:
    env = PipelineEnv()
    env.put(a_jpg=b"x")
    message = await env.message(files=[{"source": "a.jpg"}])
    broken = JobTracer(TracerProvider())
    broken._tracer = None  # type: ignore[assignment]

    observer = await settle(env, message, broken)

    assert [job.outcome for job in observer.seen] == ["done"]


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "archiver.telemetry.traces")

    with pytest.raises(SettingsError, match=r"needs the extra archiver\[otel\]"):
        __import__("archiver.telemetry.traces")


async def test_a_flush_sends_what_has_ended_and_waits_no_longer_for_a_collector_that_hangs(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "EXPORT_SECONDS", 0.1)
    env = PipelineEnv()
    env.put(a_jpg=b"x")
    async with open_tracer(settings(collector.url)) as tracer:
        await settle(env, await env.message(files=[{"source": "a.jpg"}]), tracer)
        await tracer.flush(5)
        assert len(collector.jobs()) == 1

        collector.hangs = True
        await settle(env, await env.message(files=[{"source": "a.jpg"}]), tracer)
        await tracer.flush(0.1)
        assert len(collector.jobs()) == 1
