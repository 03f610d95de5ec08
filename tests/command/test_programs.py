"""Programs: started, limited, and ended with all that they started. Each test's work space must be empty afterwards."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.command import native
from archiver.command import run as run_module
from archiver.command.space import WorkSpace
from archiver.errors import ConfigurationError

from .runs import MIB, processes_in, run_program, run_shell


async def test_a_program_gets_its_words_as_they_are(space: WorkSpace) -> None:
    """No shell, no splitting, no expansion: spaces, quotes, newlines, `$(…)` and bytes are one word each."""
    words = ["a b", "'\"", "$(id)", "*", "\n", "{}", "-", "é", "; rm -rf /"]
    seen = await run_program(space, [sys.executable, "-c", "import sys; print(sys.argv[1:])", *words])

    assert f"{words}\n" == seen.stdout


async def test_a_program_sees_nothing_of_the_workers_environment(
    space: WorkSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment is what it is given; HOME and TMPDIR are its own directory."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen = await run_shell(space, "env -0 | cut -z -d= -f1 | tr '\\0' ' '; echo; test $HOME = $TMPDIR && cd && pwd")
    names, home = seen.stdout.splitlines()

    assert {"HOME", "LANG", "PATH", "TMPDIR"} == set(names.split()) - {"PWD", "OLDPWD", "SHLVL", "_"}
    assert home.endswith("/tmp")


async def test_exit_codes_and_signals_are_told(space: WorkSpace) -> None:
    """An exit code and a death by signal are different things."""
    ended = (await run_shell(space, "exit 75")).ended.exit
    killed = (await run_shell(space, "kill -9 $$")).ended.exit

    assert (ended.code, ended.signal) == (75, None)
    assert (killed.code, killed.signal) == (None, 9)


async def test_a_program_that_does_not_exist_is_the_operators_to_mend(space: WorkSpace) -> None:
    """The error names the program and the reason."""
    with pytest.raises(ConfigurationError, match="no-such-program: No such file or directory"):
        await run_program(space, ["no-such-program"])


async def test_standard_input_is_read_to_its_end(space: WorkSpace) -> None:
    """More than any pipe holds arrives whole."""
    seen = await run_shell(space, "wc -c", stdin="x" * 1_000_000)

    assert seen.stdout.strip() == "1000000"


async def test_a_program_need_not_read_its_standard_input(space: WorkSpace) -> None:
    """A pipe that nobody reads is no error."""
    seen = await run_shell(space, "echo done", stdin="x" * 1_000_000)

    assert (seen.stdout, seen.ended.exit.code) == ("done\n", 0)


async def test_a_program_that_prints_for_ever_ends_in_time_and_takes_no_memory(space: WorkSpace) -> None:
    """K5: Only the end of what it prints is kept."""
    seen = await run_shell(space, "yes", timeout=0.3, kept=10)

    assert seen.ended.stopped == "timeout"
    assert seen.size > 10 == len(seen.stdout)


async def test_a_child_that_holds_the_pipes_ends_with_its_program(space: WorkSpace) -> None:
    """K2: The program's end is the end: no child keeps the job waiting."""
    seen = await run_shell(space, "sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 &) ; echo done")

    assert (seen.stdout, seen.ended.stopped, seen.ended.exit.code) == ("done\n", None, 0)


async def test_children_that_leave_group_and_session_are_ended(space: WorkSpace) -> None:
    """K1: Daemons are found as well: orphans are adopted by the keeper."""
    daemon = "setsid sh -c 'setsid sh -c \"setsid sleep 1000 & sleep 1000\" & sleep 1000' & sleep 1000"
    seen = await run_shell(space, daemon, timeout=0.5)

    assert seen.ended.stopped == "timeout"


async def test_a_program_that_ignores_sigterm_is_killed(space: WorkSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """K3: SIGTERM, a while, SIGKILL; its children, which ignore it too, likewise."""
    monkeypatch.setattr(run_module, "TERM_SECONDS", 0.3)
    seen = await run_shell(space, "trap '' TERM; sleep 1000 & while :; do sleep 1000; done", timeout=0.3)

    assert (seen.ended.stopped, seen.ended.exit.signal) == ("timeout", 9)


@pytest.mark.slow
async def test_a_program_is_asked_first_and_may_clean_up(space: WorkSpace) -> None:
    """SIGTERM reaches the whole group, and what is printed then is kept."""
    seen = await run_shell(space, "trap 'echo bye; exit 3' TERM; sleep 1000 & wait", timeout=0.3)

    assert (seen.ended.stopped, seen.stdout) == ("timeout", "bye\n")


@pytest.mark.slow
async def test_a_fork_bomb_ends_with_all_its_children(space: WorkSpace) -> None:
    """K1: Each process starts two others, in a session of its own; the limit of processes is not for root."""
    bomb = """
    bomb() { [ "$1" = 0 ] && sleep 1000; bomb $(($1 - 1)) & setsid sh -c "sleep 1000" & bomb $(($1 - 1)); }
    bomb 4
    """
    seen = await run_shell(space, bomb, timeout=1, limits={"RLIMIT_NPROC": 512})

    assert (seen.ended.stopped, seen.ended.exit.left) == ("timeout", 0)


@pytest.mark.slow
async def test_a_fork_bomb_that_never_ends_is_ended(space: WorkSpace) -> None:
    """The children of a bomb are new at every look; whole groups are signalled, so none escapes."""
    limit = "import resource, os; resource.setrlimit(resource.RLIMIT_NPROC, (300, 300)); os.setuid(65534)"
    bomb = f"{limit}\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    seen = await run_program(space, [sys.executable, "-c", bomb], timeout=2)

    assert (seen.ended.stopped, seen.ended.exit.left) == ("timeout", 0)


async def test_a_program_that_fills_the_disk_is_ended(space: WorkSpace) -> None:
    """K4: One file is limited by the kernel, the sum by a look each second."""
    one = await run_shell(space, "dd if=/dev/zero of=x bs=1M count=9", disk=4 * MIB, limits={"RLIMIT_FSIZE": 4 * MIB})
    many = await run_shell(space, "for i in 1 2 3; do dd if=/dev/zero of=x$i bs=1M count=2; done; exit 1", disk=4 * MIB)

    assert [one.ended.stopped, many.ended.stopped] == ["disk", "disk"]


async def test_a_program_has_so_much_memory(space: WorkSpace) -> None:
    """The limit is the program's, not the worker's."""
    seen = await run_program(space, [sys.executable, "-c", "bytearray(1 << 30)"], limits={"RLIMIT_AS": 512 * MIB})

    assert seen.ended.exit.code == 1
    assert "MemoryError" in seen.stderr


async def test_lines_of_progress_are_reported(space: WorkSpace) -> None:
    """Whole lines of standard error alone, with a number from 0 to 1."""
    script = "printf 'archiver-progress: 0.25\\nx archiver-progress: 0.3\\narchiver-progress: 7\\narchiver-prog' >&2;"
    seen = await run_shell(space, script + "sleep 0.1; printf 'ress: 1.0\\narchiver-progress: 0.5' >&2")

    assert seen.fractions == [0.25, 1.0]


async def test_a_cancelled_run_leaves_nothing(space: WorkSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lease lost, or the worker stops: the program ends, also one that ignores SIGTERM."""
    monkeypatch.setattr(native, "CANCEL_SECONDS", 0.2)
    task = asyncio.create_task(run_shell(space, "trap '' TERM; setsid sleep 1000 & while :; do sleep 1000; done"))
    while not processes_in(space.root):
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.sleep(0.05)
    task.cancel()  # a second one changes nothing

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_run_that_is_cancelled_before_its_start_is_told_leaves_nothing(
    space: WorkSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program runs before its keeper says so: the keeper ends it, and is not killed itself before it has."""
    monkeypatch.setattr(native.Keeper, "first_answer", lambda _: asyncio.Event().wait())
    task = asyncio.create_task(run_shell(space, "setsid sleep 1000 & touch on; setsid sleep 1000"))
    while not list(space.root.rglob("on")):
        await asyncio.sleep(0.01)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("steps", range(8))
async def test_a_run_that_is_cancelled_at_any_step_of_its_start_leaves_nothing(space: WorkSpace, steps: int) -> None:
    """Neither a process nor a descriptor; also where the keeper is asked for the end before it has read the start."""
    before = len(os.listdir("/proc/self/fd"))
    task = asyncio.create_task(run_shell(space, "setsid sleep 1000 & sleep 1000"))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_killed_worker_leaves_no_process(tmp_path: Path) -> None:
    """K6: Keepers notice that their worker is gone, and end their programs, even if a program has stopped them."""
    script = f"""
import asyncio
from pathlib import Path
from archiver.command.space import open_space
from command.runs import run_shell
async def main():
    with open_space(Path({str(tmp_path)!r}), 64 << 20) as space:
        await run_shell(
            space, "setsid sleep 999 & kill -STOP $PPID; echo > started; trap '' TERM; while :; do sleep 999; done"
        )
asyncio.run(main())
"""
    worker = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[1])
    while not list(tmp_path.rglob("started")):
        assert worker.poll() is None
    worker.kill()
    worker.wait()
    while processes_in(tmp_path):
        pass

    assert list(tmp_path.glob("job-*"))  # until the next start: see test_work_space.py
