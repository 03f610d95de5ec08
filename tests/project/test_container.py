"""The container image, read as text: no engine is needed to see what must hold."""

import importlib
import json
import re
from pathlib import Path

import yaml

from archiver.settings import Settings

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of the stage *name*."""
    found = instructions()
    starts = [number for number, (word, _) in enumerate(found) if word == "FROM"]
    (start,) = [number for number in starts if found[number][1].endswith(f" AS {name}")]
    return found[start : min(number for number in [*starts, len(found)] if number > start)]


def test_what_is_built_without_a_target_is_the_service_alone() -> None:
    assert instructions()[-1] == ("FROM", "service")


def test_entry_point_is_in_exec_form_so_that_signals_reach_the_worker() -> None:
    """The shell form puts `sh` before the worker, and `sh` keeps SIGTERM for itself."""
    service = dict(stage("service"))

    assert json.loads(service["ENTRYPOINT"]) == ["archiver"]
    assert json.loads(service["CMD"]) == ["run"]
    assert service["STOPSIGNAL"] == "SIGTERM"


def test_container_does_not_run_as_root() -> None:
    """By number, for orchestrators that check it."""
    assert dict(stage("service"))["USER"] == "10001"
    assert "USER" not in dict(stage("commands"))
    assert "USER" not in dict(stage("lambda"))


def test_base_images_are_pinned_by_digest_and_of_one_python() -> None:
    """A tag is another program every month."""
    bases = [argument.partition(" AS ")[0] for word, argument in instructions() if word == "FROM"]
    images = {base for base in bases if base not in ("build", "service")}

    assert len(images) == 1
    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64}", images.pop())


def test_compose_gives_it_a_process_1_that_reaps_and_longer_to_stop_than_its_jobs_get() -> None:
    worker = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]

    assert worker["init"] is True
    assert float(worker["stop_grace_period"].removesuffix("s")) > Settings.model_fields["grace_seconds"].default


def test_the_service_s_stage_holds_the_environment_alone() -> None:
    """One copy from the first stage, nothing installed, pip taken away."""
    found = stage("service")

    copies = [argument for word, argument in found if word in ("COPY", "ADD")]
    runs = " ".join(argument for word, argument in found if word == "RUN")

    assert copies == ["--from=build /opt/archiver /opt/archiver"]
    assert "uninstall --yes --root-user-action=ignore pip" in runs
    assert not re.search(r"apt-get|pip\S* install|hatchling", runs)


def test_the_stage_for_commands_adds_the_aws_cli_behind_the_service_s_own_programs() -> None:
    """`python` stays that of the service."""
    (first, copy, path) = stage("commands")

    assert first == ("FROM", "service AS commands")
    assert copy == ("COPY", "--from=build-commands /opt/aws /opt/aws")
    assert path[1].startswith("PATH=/opt/archiver/bin:/opt/aws/bin:")


def test_the_stage_for_lambda_starts_the_handler_that_is_there() -> None:
    """In exec form, with all packages of the service in the same versions, and no health check that nobody makes."""
    copy, health, entry, command = stage("lambda")[1:]
    module, _, name = json.loads(command[1])[0].rpartition(".")

    assert copy == ("COPY", "--from=build-lambda /opt/archiver /opt/archiver")
    assert health == ("HEALTHCHECK", "NONE")
    assert json.loads(entry[1]) == ["python", "-m", "awslambdaric"]
    assert callable(getattr(importlib.import_module(module), name))


def test_every_package_of_the_image_is_checked_by_hash() -> None:
    """All but our own wheel, which is installed without asking any index."""
    runs = " && ".join(argument for word, argument in instructions() if word == "RUN")
    installs = re.findall(r"pip (?:--python \S+ )?install [^&]*", runs)

    assert len(installs) == 5
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)


def test_what_the_dockerfile_copies_is_let_through_by_dockerignore() -> None:
    """And nothing else: the ignore file starts from nothing."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    copied = [
        source.removeprefix("./")
        for word, argument in instructions()
        if word == "COPY" and not argument.startswith("--from")
        for source in argument.split()[:-1]
    ]

    assert ignored[1] == "*"
    assert let_through == set(copied)
    assert all((ROOT / name).exists() for name in copied)
