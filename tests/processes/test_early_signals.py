"""A signal that comes while the worker is still being imported is heard, also by process 1, which has no defaults."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from faults.worker_process import WAIT_TIMEOUT, wait_until
from zygote import inherited_environment

SETTINGS = {
    "SQS_SOURCE_QUEUE": "requests",
    "S3_DESTINATION_BUCKET": "archives",
    "AWS_ENDPOINT_URL": "http://localhost:1",
}


def start(arguments: Sequence[str]) -> "subprocess.Popen[str]":
    # Not measured: coverage has a handler of its own, which would be taken for ours.
    kept = {k: v for k, v in inherited_environment().items() if not k.startswith("COV")}
    return subprocess.Popen(
        arguments, env={**kept, **SETTINGS}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for *number* (proc(5), SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_what_listens_for_signals_needs_nothing_but_the_standard_library() -> None:
    script = (
        "import sys; before = set(sys.modules); import archiver.__main__;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ended.stdout == "archiver\n"


@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        pytest.param(signal.SIGTERM, ["run"], id="SIGTERM, archiver run"),
        pytest.param(signal.SIGINT, [], id="SIGINT, archiver"),
        pytest.param(signal.SIGTERM, [], id="SIGTERM, archiver", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, ["run"], id="SIGINT, archiver run", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_is_stopped_while_it_is_imported_ends_with_code_0(
    number: signal.Signals, arguments: list[str]
) -> None:
    with start([sys.executable, "-m", "archiver", *arguments]) as worker:
        wait_until(lambda: handles(worker.pid, signal.SIGTERM), "the first handler")
        worker.send_signal(number)
        output, _ = worker.communicate(timeout=WAIT_TIMEOUT)

    assert worker.returncode == 0
    assert "worker.starting" not in output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_stopped_while_it_is_imported_ends_without_a_word(number: signal.Signals) -> None:
    with start([sys.executable, "-m", "archiver", "plan", "--file", "a.jpg"]) as command:
        wait_until(lambda: handles(command.pid, signal.SIGTERM), "the first handler")
        command.send_signal(number)
        output, _ = command.communicate(timeout=WAIT_TIMEOUT)

    assert (command.returncode, output) == (130, "")


@pytest.mark.slow
def test_process_1_hears_the_signal_too() -> None:
    """Of a namespace of its own; the kernel drops for it what it has no handler for."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--pid", "--fork", "true"], check=False).returncode:
        pytest.skip("needs unshare(1), and the right to use it")
    first = [unshare, "--pid", "--fork", "--kill-child", sys.executable, "-m", "archiver", "run"]
    with start(first) as outer:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        wait_until(lambda: bool(children.read_text().split()), "process 1")
        pid = int(children.read_text().split()[0])
        wait_until(lambda: handles(pid, signal.SIGTERM), "the first handler")
        os.kill(pid, signal.SIGTERM)
        output, _ = outer.communicate(timeout=WAIT_TIMEOUT)

    assert outer.returncode == 0
    assert "worker.starting" not in output
