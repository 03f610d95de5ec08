"""What a command prints into objects counts with its outputs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archiver.core.command_result import CommandRejected
from archiver.errors import Rejected

from .command_env import MIB, CommandEnv, command_env


@pytest.fixture
def env(tmp_path: Path) -> Iterator[CommandEnv]:
    with command_env(tmp_path / "work") as env:
        yield env


def printed_to(*streams: str) -> dict[str, Any]:
    return {name: {"type": "uri", "value": f"s3://target/{name}"} for name in streams}


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_what_is_printed_into_an_object_is_limited_like_other_outputs(
    env: CommandEnv, stream: str, ends: bool
) -> None:
    """A program that prints into an object for ever would fill the bucket until its time is over."""
    script = "head -c 16777217 /dev/zero" if ends else "head -c 67108864 /dev/zero; sleep 1000"
    env.longest = 30
    env.script = script if stream == "stdout" else f"exec >&2; {script}"

    with pytest.raises(CommandRejected, match=r"disk_limit: .*printed more into objects") as rejected:
        await env.run(**printed_to(stream))

    assert getattr(rejected.value.result, stream).size == len(env.out(stream)) == 16 * MIB


async def test_both_streams_and_the_files_share_one_limit(env: CommandEnv) -> None:
    env.script = "head -c 8388608 /dev/zero; head -c 8388609 /dev/zero >&2"
    with pytest.raises(Rejected, match="printed more into objects"):
        await env.run(**printed_to("stdout", "stderr"))

    env.script = 'head -c 8388608 /dev/zero; truncate -s 8388609 "$1"'
    with pytest.raises(Rejected, match="disk_limit: the outputs of the command have 16,777,217 bytes"):
        await env.run("s3://target/file", **printed_to("stdout"))

    env.script = 'head -c 8388608 /dev/zero; truncate -s 8388608 "$1"'
    result = await env.run("s3://target/file", **printed_to("stdout"))
    assert result.command is not None and result.command.stdout.size == len(env.out("file")) == 8 * MIB


async def test_what_is_printed_into_the_answer_has_no_other_limit_than_the_time(env: CommandEnv) -> None:
    env.script = "head -c 40000000 /dev/zero"
    result = await env.run()
    assert result.command is not None and result.command.stdout.size == 40_000_000
