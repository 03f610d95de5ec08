"""Containers by the command line of docker, with a stand-in for it: nothing else is there to run them."""

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from archiver.command import native
from archiver.command.docker import ContainerRun, container_user, docker_spec, open_to_container, remove_containers
from archiver.command.native import started
from archiver.command.space import WorkSpace
from archiver.core.commands import Command, Container, Limits

from .runs import MIB

STAND_IN = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
ps) printf 'dead1 0000000000000000\\nlive1 {worker}\\n';;
run) echo started; sleep 1000;;
esac
"""


@pytest.fixture
def calls(space: WorkSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the stand-in writes its arguments to, one call a line."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    (folder / "docker").write_text(STAND_IN.format(log=log, worker=space.worker))
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


COMMAND = Command("tool", (), limits=Limits(memory=64 * MIB, cpus=0.5), env={"MODE": "fast"})
CONTAINER = Container("registry.example.com/tool@sha256:6f1e", pull="missing")


def run_of(directory: Path, *, has_stdin: bool = False) -> ContainerRun:
    secrets = {"AWS_SECRET_ACCESS_KEY": "secret"}
    return ContainerRun(COMMAND, ["--in", "a b"], "1f", "w0", directory, has_stdin, secrets)


def test_a_container_has_no_right_that_it_was_not_given(tmp_path: Path) -> None:
    """The whole command line; credentials are named in it, and stand in the client's environment."""
    spec = docker_spec(run_of(tmp_path / "job"), CONTAINER)

    assert " ".join(spec.argv) == (
        f"docker run --rm --init --name archiver-1f --label archiver.worker={socket.gethostname()} "
        f"--label archiver.directory={tmp_path} --label archiver.lock=w0 --pull missing --network none --read-only "
        f"--tmpfs /tmp:rw,size=64m --user {container_user()} --cap-drop ALL --security-opt no-new-privileges "
        f"--memory {64 * MIB} --cpus 0.5 --pids-limit 256 -e HOME=/tmp -e TMPDIR=/tmp -e MODE=fast "
        f"-e AWS_SECRET_ACCESS_KEY -v {tmp_path}/job/in:/job/in:ro -v {tmp_path}/job/out:/job/out "
        f"-v {tmp_path}/job/work:/job/work -w /job/work registry.example.com/tool@sha256:6f1e --in a b"
    )
    assert spec.env["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert not container_user().startswith("0:")
    assert "--interactive" in docker_spec(run_of(tmp_path, has_stdin=True), CONTAINER).argv


async def test_a_container_is_removed_if_its_client_is_killed(
    space: WorkSpace, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K7: Ending the client does not end the container."""
    monkeypatch.setattr(native, "CANCEL_SECONDS", 0.0)
    async with space.job(MIB) as directory:
        open_to_container(directory.path)
        spec = docker_spec(run_of(directory.path), CONTAINER)
        with pytest.raises(RuntimeError):
            async with started(replace(spec, env={**spec.env, "PATH": os.environ["PATH"]})) as process:
                assert await process.stdout.readline() == b"started\n"
                raise RuntimeError

    assert (await asyncio.to_thread(calls.read_text)).splitlines()[-1] == "rm --force archiver-1f"


async def test_containers_of_killed_workers_are_removed_and_those_of_living_ones_stay(
    space: WorkSpace, calls: Path
) -> None:
    """K7: A container is labelled with the lock of its worker."""
    removed = await remove_containers(space)
    listed, last = (await asyncio.to_thread(calls.read_text)).splitlines()

    assert removed == 1
    assert last == "rm --force dead1"
    assert f"label=archiver.directory={space.root}" in listed
