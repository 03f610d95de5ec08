"""
Jobs that run a program: from the objects in S3 to the answer. Each test ends with an empty directory, a free memory
budget and no upload in progress.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fakes import FakeHold

from archiver.core.command_order import Confined
from archiver.core.command_result import CommandRejected
from archiver.core.locations import Location
from archiver.errors import ConfigurationError, LeaseLost, Rejected, SourceChanged, TransientError
from archiver.jobs import command, command_inputs
from archiver.stages import retry, upload

from .command_env import CommandEnv, command_env

COPY = 'cat "$1" > "$2"; echo done; echo archiver-progress: 0.5 >&2'


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandEnv]:
    monkeypatch.setattr(retry, "BACKOFF_CAP", 0.0)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "UPLOAD_RETRY_SECONDS", 0.0)
    with command_env(tmp_path / "work") as env:
        yield env


async def test_a_program_reads_an_object_and_writes_one(env: CommandEnv) -> None:
    env.script = COPY
    env.put("a.txt", b"content")

    result = await env.run("s3://source/a.txt", "s3://target/b.txt")

    told = result.command
    assert told is not None
    assert env.out("b.txt") == b"content"
    assert (told.name, told.exit_code, told.inputs, told.left_behind, told.reused) == ("tool", 0, 1, 0, False)
    assert (told.stdout.text, told.stderr.text) == ("done\n", "archiver-progress: 0.5\n")
    assert [(one.destination, one.size) for one in told.outputs] == [("s3://target/b.txt", 7)]
    assert (result.status, result.files, result.size) == ("succeeded", 1, 7)
    assert env.progress.fraction == 0.5
    assert env.stage.s3.objects[Location("target", "b.txt")].content_type == "text/plain"


async def test_siblings_of_an_input_lie_beside_it_and_those_of_an_output_are_stored(env: CommandEnv) -> None:
    env.script = 'd=$(dirname "$1"); for f in "$d"/*; do cp "$f" "$(dirname "$2")"; done; touch "$(dirname "$2")/no"'
    for key in ("d/poly.shp", "d/poly.dbf", "d/poly/", "d/other"):
        env.put(key, key.encode())

    result = await env.run(
        "s3://source/d/poly.shp", "s3://target/x/poly.shp", input=["s3://source/d/poly"], output=["s3://target/x/poly"]
    )

    assert (env.out("x/poly.shp"), env.out("x/poly.dbf")) == (b"d/poly.shp", b"d/poly.dbf")
    assert result.command is not None
    assert (result.command.inputs, result.command.left_behind) == (2, 1)


async def test_an_output_that_is_a_directory_is_stored_with_all_that_is_in_it(env: CommandEnv) -> None:
    env.script = 'mkdir -p "$1/deep"; echo 1 > "$1/one"; echo 2 > "$1/deep/two"'

    await env.run("s3://target/tree")

    assert (env.out("tree/one"), env.out("tree/deep/two")) == (b"1\n", b"2\n")


async def test_streams_come_from_objects_and_go_to_objects(env: CommandEnv) -> None:
    env.script = "tr a-z A-Z; echo problem >&2"
    env.put("stdin", b"x" * 100_000)

    result = await env.run(
        stdin={"type": "uri", "value": "s3://source/stdin"},
        stdout={"type": "uri", "value": "s3://target/stdout"},
        stderr={"type": "uri", "value": "s3://target/stderr"},
    )

    assert (env.out("stdout"), env.out("stderr")) == (b"X" * 100_000, b"problem\n")
    assert result.command is not None
    assert (result.command.stdout.uri, result.command.stdout.size) == ("s3://target/stdout", 100_000)


async def test_text_of_the_request_is_standard_input(env: CommandEnv) -> None:
    env.script = "cat"

    result = await env.run(stdin={"type": "pipe", "value": "é\n$(id)"})

    assert result.command is not None
    assert result.command.stdout.text == "é\n$(id)"


async def test_only_the_end_of_long_output_is_answered(env: CommandEnv) -> None:
    env.script = "yes | head -c 100000; echo end"

    result = await env.run()

    assert result.command is not None
    stdout = result.command.stdout
    assert (stdout.size, stdout.truncated, len(stdout.text)) == (100_004, True, 1024)
    assert stdout.text.endswith("end\n")


async def test_a_redelivery_is_answered_from_the_remembered_success(env: CommandEnv) -> None:
    env.script = COPY
    env.put("a.txt")
    first = await env.run("s3://source/a.txt", "s3://target/b.txt")
    env.stage.s3.objects.pop(Location("source", "a.txt"))  # even without its inputs

    second = await env.run("s3://source/a.txt", "s3://target/b.txt")

    assert (first.reused, second.reused) == (False, True)
    assert first.command is not None
    assert second.command is not None
    assert second.command.outputs == first.command.outputs


async def test_another_request_under_the_job_id_is_a_conflict(env: CommandEnv) -> None:
    await env.run(job_id="j")
    env.script = "exit 1"  # nothing is run

    with pytest.raises(Rejected, match="job_conflict"):
        await env.run_body({"job_id": "j", "command": {"name": "tool", "output": ["s3://target/x"]}}, message_id="m2")
    again = await env.run_body({"job_id": "j", "command": {"name": "tool", "arguments": []}}, message_id="m2")

    assert again.reused


async def test_an_archive_under_the_job_id_is_a_conflict(env: CommandEnv) -> None:
    env.script = "exit 1"
    digest = (await _digest_of_a_success(env)).removesuffix("/result.json")
    env.stage.s3.put("archives", f"{digest}/download.zip", b"zip")

    with pytest.raises(Rejected, match="job_conflict"):
        await env.run()


async def _digest_of_a_success(env: CommandEnv) -> str:
    script, env.script = env.script, "true"
    await env.run()
    env.script = script
    return next(at.key for at in env.stage.s3.objects if at.bucket == "archives")


@pytest.mark.parametrize("data", [b"{}", b"x" * 1000])
async def test_a_remembered_result_that_can_not_be_read_is_told(env: CommandEnv, data: bytes) -> None:
    key = await _digest_of_a_success(env)
    blob = env.stage.s3.objects[Location("archives", key)]
    env.stage.s3.objects[Location("archives", key)] = type(blob)(data, blob.etag, blob.modified, metadata=blob.metadata)

    with pytest.raises(Rejected, match=r"result\.json can't be read"):
        await env.run()


async def test_a_failure_is_told_with_its_end_and_is_not_remembered(env: CommandEnv) -> None:
    env.script = 'echo partial > "$1"; echo broken >&2; exit 3'

    with pytest.raises(CommandRejected, match="exit code 3") as raised:
        await env.run("s3://target/x", stderr={"type": "uri", "value": "s3://target/log"})
    env.script = 'echo whole > "$1"'
    again = await env.run("s3://target/x", stderr={"type": "uri", "value": "s3://target/log"})

    assert raised.value.code == "command_failed"
    assert raised.value.result.stderr.uri == "s3://target/log"
    assert env.out("x") == b"whole\n"
    assert not again.reused


async def test_an_exit_code_of_the_file_means_try_again(env: CommandEnv) -> None:
    env.script, env.more = "exit 75", "retry_exit_codes = [75]"

    with pytest.raises(TransientError, match="exit code 75"):
        await env.run()


async def test_a_time_limit_is_the_commands_or_what_its_source_allows(env: CommandEnv) -> None:
    env.script, env.longest = "sleep 1000", 0.2

    with pytest.raises(Rejected, match="command_timeout"):
        await env.run()


async def test_the_disk_is_limited(env: CommandEnv) -> None:
    env.script = "dd if=/dev/zero of=big bs=1M count=17"

    with pytest.raises(Rejected, match="disk_limit"):
        await env.run()


async def test_outputs_may_have_no_more_bytes_than_the_disk_even_with_holes(env: CommandEnv) -> None:
    """Eight files of 12 MiB take nothing of a disk of 16 MiB, and would be 96 MiB of requests to S3."""
    env.script = 'mkdir -p "$1"; for i in 1 2 3 4 5 6 7 8; do truncate -s 12M "$1/$i"; done'

    with pytest.raises(Rejected, match="the outputs of the command have 100,663,296 bytes") as rejected:
        await env.run("s3://target/tree")

    assert rejected.value.code == "disk_limit"
    assert env.written == []


async def test_a_disk_that_is_larger_than_all_is_the_operators_to_mend(env: CommandEnv) -> None:
    env.others = '[commands.large]\nargv = ["true"]\ndisk = "1GiB"'

    with pytest.raises(ConfigurationError, match="WORK_DISK_MIB"):
        await env.run_body({"command": {"name": "large"}})


async def test_all_inputs_that_can_not_be_read_are_told_and_nothing_is_run(env: CommandEnv) -> None:
    env.put("there")

    with pytest.raises(Rejected, match="3 inputs") as raised:
        await env.run("s3://source/there", "s3://source/a", "s3://source/b", input=["s3://source/none"])

    assert {problem.source for problem in raised.value.sources} == {
        "s3://source/a",
        "s3://source/b",
        "s3://source/none",
    }
    assert env.written == []


async def test_inputs_that_are_too_many_or_too_large_are_refused_before_the_first_byte(env: CommandEnv) -> None:
    env.more = "max_inputs = 3"
    for number in range(5):
        env.put(f"many/{number}")
    env.put("large", bytes(17 << 20))

    for uris in (["s3://source/many"], [f"s3://source/many/{number}" for number in range(4)]):
        with pytest.raises(Rejected, match="too_large"):
            await env.run(input=uris)
    with pytest.raises(Rejected, match="too_large: the inputs have"):
        await env.run("s3://source/large")
    assert env.stage.reader.faults.calls["read"] == 0


@pytest.mark.parametrize(
    ("keys", "code"),
    [(["p/../x"], "name_unsafe"), (["p//x"], "name_unsafe"), (["p/a", "p/a/b"], "name_conflict")],
)
async def test_keys_that_are_no_files_are_refused(env: CommandEnv, keys: list[str], code: str) -> None:
    for key in keys:
        env.put(key)

    with pytest.raises(Rejected, match=code):
        await env.run(input=["s3://source/p"])


async def test_an_input_that_changes_once_is_read_again_and_one_that_always_does_is_told(
    env: CommandEnv,
) -> None:
    env.script = 'cat "$1"'
    env.put("a", b"content")
    env.stage.reader.faults.plan("read", SourceChanged("changed"))

    result = await env.run("s3://source/a")
    env.stage.reader.faults.plan("read", SourceChanged("changed"), times=command_inputs.TRIES)
    with pytest.raises(Rejected, match="source_changed"):
        await env.run("s3://source/a", job_id="j")

    assert result.command is not None
    assert result.command.stdout.text == "content"


async def test_an_output_that_was_not_made_is_told(env: CommandEnv) -> None:
    with pytest.raises(Rejected, match="output_missing") as raised:
        await env.run("s3://target/a", "s3://target/b")

    assert [problem.source for problem in raised.value.sources] == ["s3://target/a", "s3://target/b"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('ln -s /etc/passwd "$1"', "is a symbolic link"),
        ('touch x; ln x "$1"', "a hard link"),
        pytest.param('mkfifo "$1"', "is a FIFO", marks=pytest.mark.slow),
        pytest.param('mkdir "$1"; ln -s / "$1/root"', "out/target/x/root, is a symbolic link", marks=pytest.mark.slow),
    ],
)
async def test_what_is_no_file_of_its_own_is_refused_by_name(env: CommandEnv, script: str, reason: str) -> None:
    """K10: Links, FIFOs and their kind."""
    env.script = script

    with pytest.raises(Rejected, match=f"output_missing.*{reason}"):
        await env.run("s3://target/x")

    assert env.written == []


async def test_an_object_of_somebody_else_is_never_replaced_and_nothing_is_run(env: CommandEnv, tmp_path: Path) -> None:
    env.script = f"touch {tmp_path}/ran"
    env.put("x", b"theirs", "target")

    with pytest.raises(Rejected, match="name_conflict"):
        await env.run("s3://target/x")

    assert not (tmp_path / "ran").exists()
    assert env.out("x") == b"theirs"


async def test_outputs_of_an_earlier_run_of_the_job_are_replaced(env: CommandEnv) -> None:
    """It ended after its outputs, before its success was remembered."""
    env.script = 'echo first > "$1"'
    await env.run("s3://target/x")
    env.stage.s3.objects.pop(next(at for at in env.stage.s3.objects if at.key.endswith("result.json")))
    env.script = 'echo second > "$1"'

    await env.run("s3://target/x")

    assert env.out("x") == b"second\n"


async def test_a_command_that_may_run_once_does_not_run_again(env: CommandEnv) -> None:
    env.script, env.more = "exit 3", "at_most_once = true"
    with pytest.raises(CommandRejected):
        await env.run()

    with pytest.raises(Rejected, match="interrupted"):
        await env.run()


@pytest.mark.parametrize(("script", "raises"), [("exit 75", TransientError), ("true", None)])
async def test_a_command_that_may_run_once_may_ask_for_another_run(
    env: CommandEnv, script: str, raises: type[Exception] | None
) -> None:
    env.script, env.more = script, "at_most_once = true\nretry_exit_codes = [75]"
    if raises is not None:
        with pytest.raises(raises):
            await env.run()
        env.script = "true"

    assert not (await env.run()).reused
    assert (await env.run()).reused


async def test_a_command_that_could_not_be_started_leaves_no_mark(env: CommandEnv) -> None:
    env.others = '[commands.absent]\nargv = ["no-such-program"]\nat_most_once = true\ndisk = 1000'

    for _ in range(2):
        with pytest.raises(ConfigurationError, match="no-such-program"):
            await env.run_body({"command": {"name": "absent"}})


async def test_credentials_are_given_to_commands_that_ask(env: CommandEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the worker's")
    env.script, env.variables = "echo $AWS_SECRET_ACCESS_KEY", {"AWS_SECRET_ACCESS_KEY": "the command's"}

    without = await env.run(job_id="1")
    env.more = "aws = true"
    given = await env.run(job_id="2")

    assert without.command is not None
    assert given.command is not None
    assert (without.command.stdout.text, given.command.stdout.text) == ("\n", "the command's\n")


async def test_a_lost_lease_starts_nothing_and_stores_nothing(env: CommandEnv, tmp_path: Path) -> None:
    env.script = f"touch {tmp_path}/ran"

    def lost() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        await env.run("s3://target/x", hold=FakeHold(lost))

    assert not (tmp_path / "ran").exists()


async def test_a_cancelled_job_ends_its_program_and_stores_nothing(env: CommandEnv, tmp_path: Path) -> None:
    """K8: The lease is lost, or the worker stops."""
    env.script = f'echo x > "$1"; touch {tmp_path}/ran; sleep 1000'
    job = asyncio.create_task(env.run("s3://target/x", stdout={"type": "uri", "value": "s3://target/log"}))
    while not (tmp_path / "ran").exists():
        assert not job.done()
        await asyncio.sleep(0.01)
    job.cancel()

    with pytest.raises(asyncio.CancelledError):
        await job
    assert env.written == []


async def test_a_store_that_refuses_outputs_is_waited_for_without_a_second_run(
    env: CommandEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K9: The operator must act; the command has run."""
    monkeypatch.setattr("archiver.jobs.command_outputs.configuration_retry_delay", lambda _: 0.0)
    env.script = f'echo run >> {tmp_path}/runs; echo x > "$1"'
    env.store("target")
    env.stores["target"].faults.plan("put", ConfigurationError("denied"), times=3)
    env.stage.store.faults.plan("put", ConfigurationError("denied"), times=2)

    await env.run("s3://target/x")

    assert (tmp_path / "runs").read_text() == "run\n"


def _appearing(
    look: Callable[[Sequence[Confined]], list[str]], path: Path
) -> Callable[[Sequence[Confined]], list[str]]:
    """Look as *look* does; *path* appears after the first look."""

    def find(paths: Sequence[Confined]) -> list[str]:
        missing = look(paths)
        path.touch()
        return missing

    return find


@pytest.mark.parametrize("comes", [True, False])
async def test_required_files_are_waited_for_without_a_slot(
    env: CommandEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, comes: bool
) -> None:
    monkeypatch.setattr(command, "FIRST_LOOK_SECONDS", 0.01)
    needed, hold = tmp_path / "needed", FakeHold()
    if comes:
        monkeypatch.setattr(command, "find_missing", _appearing(command.find_missing, needed))
    env.others = f"""
    [commands.go]
    argv = ["test", "-e", "{needed}", "-a", "{{path}}"]
    accepts = ["go {{path}}"]
    disk = 1000
    [commands.go.parameters]
    path = {{ type = "path", under = "{tmp_path}" }}
    """
    env.wait_limit = 30 if comes else 0
    parameters = [
        {"id": "command_template", "type": "string", "value": "go {path}"},
        {"id": "path", "type": "string", "value": f"{tmp_path}/x"},
        {"id": "requirements", "type": "requirements", "value": {"paths": [str(needed)]}},
    ]

    running = env.run_body({"job_id": 1, "parameters": parameters}, hold)
    if comes:
        assert (await running).status == "succeeded"
    else:
        with pytest.raises(Rejected, match=r"source_missing.*needed"):
            await running

    assert hold.parks == 1
    assert env.progress.awaited == (0 if comes else 1)


def test_a_path_that_leaves_its_folder_by_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    (tmp_path / "in" / "file").touch()
    inside = Confined(f"{tmp_path}/in/file", f"{tmp_path}/in")

    assert command.find_missing([inside, Confined(f"{tmp_path}/in/new", f"{tmp_path}/in")]) == [f"{tmp_path}/in/new"]
    with pytest.raises(Rejected, match="symbolic link"):
        command.check_confined([Confined(f"{tmp_path}/in/link/x", f"{tmp_path}/in")])
