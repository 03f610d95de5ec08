"""The Dockerfile's own steps, run without an engine: an empty environment with what the service needs, and no more."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.worker_process import wait_until

from .worker_env import WorkerEnv

ROOT = Path(__file__).parents[2]
USER = "10001"
pytestmark = pytest.mark.slow


BUILD, BUILD_COMMANDS, _, SERVICE = range(4)  # stages of the Dockerfile


def steps(stage: int) -> list[tuple[str, str]]:
    """The Dockerfile's instructions of one stage, and their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.split(maxsplit=1) for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    starts = [number for number, (word, _) in enumerate(lines) if word == "FROM"] + [len(lines)]
    return [(word, argument) for word, argument in lines[starts[stage] : starts[stage + 1]]]


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """`/opt/archiver` of the image, in a place that any user can read, and `/opt/aws` beside it."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(place.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH | stat.S_IRGRP | stat.S_IROTH)
        subprocess.run([sys.executable, "-m", "venv", place / "builder"], check=True)
        environment = os.environ | {
            "PATH": f"{place}/builder/bin:{os.environ['PATH']}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        where = place / "src"
        where.mkdir()
        for word, argument in steps(BUILD) + steps(BUILD_COMMANDS):
            if word == "COPY":
                *sources, target = argument.split()
                for source in sources:
                    copy(ROOT / source, where / target if target != "./" else where / Path(source).name)
            elif word == "RUN":
                there = re.sub(r"(?<![\w.])/(opt|dist)\b", rf"{place}/\1", argument)
                ran = subprocess.run(
                    there, shell=True, cwd=where, env=environment, capture_output=True, text=True, check=False
                )
                assert ran.returncode == 0, ran.stdout + ran.stderr
        yield place / "opt" / "archiver"


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def run(image: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """*command* in the environment that the image's last stage sets, and no other."""
    environment = {"PATH": f"{image}/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **settings}
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False)


def test_the_entry_point_answers(image: Path) -> None:
    ended = run(image, "archiver", "--version")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"archiver \d+\.\d+\.\d+\n", ended.stdout)


def test_only_what_the_service_needs_is_there(image: Path) -> None:
    ended = run(image, "python", "-c", "import importlib.metadata as m; print(*(d.name for d in m.distributions()))")
    names = {name.lower().replace("_", "-") for name in ended.stdout.split()}

    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert names == {name.replace("_", "-") for name in pinned} | {"archiver"}
    assert {"aioboto3", "aiobotocore", "pydantic", "stream-zip", "structlog"} <= names
    assert names.isdisjoint({"moto", "flask", "pytest", "mypy", "ruff", "hypothesis", "cfn-lint", "pip", "setuptools"})


def test_every_module_of_the_service_can_be_read_without_what_is_for_developers(image: Path) -> None:
    """All but archiver.local, which is for trying things out, and says what it lacks."""
    code = (
        "import importlib, pkgutil, archiver\n"
        "for found in pkgutil.walk_packages(archiver.__path__, 'archiver.', onerror=lambda name: None):\n"
        "    if not found.name.startswith(('archiver.local', 'archiver.__main__')):\n"
        "        importlib.import_module(found.name)\n"
        "        print(found.name)\n"
    )
    ended = run(image, "python", "-c", code)

    assert ended.stderr == ""
    assert {"archiver.worker.loop", "archiver.telemetry.health_server", "archiver.aws.signed_urls"} <= set(
        ended.stdout.split()
    )


def test_the_variant_for_commands_has_the_aws_cli_and_python_stays_the_service_s(image: Path) -> None:
    path = f"{image}/bin:{image.parent}/aws/bin:/usr/bin:/bin"
    version, python = (
        run(image, *command, PATH=path) for command in (["aws", "--version"], ["python", "-c", "import archiver"])
    )

    assert re.match(r"aws-cli/1\.\d+", version.stdout), version.stderr
    assert python.returncode == 0, python.stderr


def test_the_demo_says_what_it_lacks(image: Path) -> None:
    ended = run(image, "archiver", "demo")

    assert ended.returncode == 1
    assert "archiver[local]" in ended.stderr
    assert "Traceback" not in ended.stderr


def namespaced(command: list[str]) -> list[str]:
    """
    *command* as process 1 and as user 10001, as an engine would start it. To the files it is still whoever runs the
    tests, so that it can read the interpreter.
    """
    return [
        "unshare",
        "--user",
        f"--map-user={USER}",
        f"--map-group={USER}",
        "--pid",
        "--fork",
        "--kill-child",
        *command,
    ]


def test_as_process_1_of_a_user_that_is_not_root_it_takes_the_signal(image: Path, worker_env: WorkerEnv) -> None:
    """The kernel hands process 1 no signal that it has no handler for: one that is merely not ignored would not do."""
    if subprocess.run(namespaced(["true"]), capture_output=True, check=False).returncode != 0:
        assert "CI" not in os.environ, "needs unshare (Debian's util-linux), and user namespaces allowed"
        pytest.skip("needs unshare, and user namespaces allowed")
    told = dict(steps(SERVICE))
    assert (told["USER"], told["ENTRYPOINT"], told["CMD"]) == (USER, '["archiver"]', '["run"]')
    settings = {
        "PATH": f"{image}/bin:/usr/bin:/bin",
        **worker_env.settings(HEARTBEAT_FILE="/dev/shm/archiver.image-test"),
    }
    command = ["env", "-i", *(f"{name}={value}" for name, value in settings.items()), "archiver", "run"]
    worker_env.put("a.jpg")

    with subprocess.Popen(namespaced(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            wait_until(lambda: process.stdout is not None and "worker.ready" in process.stdout.readline(), "a worker")
            worker_env.send_request("a.jpg")
            worker_env.answer()
            worker = worker_of(process.pid)
            assert Path(f"/proc/{worker}/uid_map").read_text().split()[0] == USER
            assert re.search(r"^NSpid:.*\t1$", Path(f"/proc/{worker}/status").read_text(), re.MULTILINE)
            assert run(image, "archiver", "health", HEARTBEAT_FILE=settings["HEARTBEAT_FILE"]).stdout == "healthy\n"
            os.kill(worker, signal.SIGTERM)
            assert process.wait(30) == 0
            assert "worker.stopped" in process.stdout.read()
        finally:
            process.kill()


def worker_of(pid: int) -> int:
    """The process that *pid*, or its last descendant, started."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    return pid
