"""A worker with a signing key: its answers hold links that open, and a bad key stops the start."""

import re
from pathlib import Path

import pytest
from aws.test_presigned import read
from aws.test_signed_urls import KEY, opened, pem

from .archiver_process import run_command
from .worker_env import WorkerEnv

SIGNED = {"CLOUDFRONT_KEY_ID": "K1", "S3_FILE_PREFIX": "Ferien & Fotos #1"}


@pytest.mark.parametrize("held", ["text", "file"])
def test_the_answer_holds_a_signed_link_and_until_when_it_works(
    worker_env: WorkerEnv, held: str, tmp_path: Path
) -> None:
    """F8"""
    (tmp_path / "key.pem").write_text(pem(KEY))
    key = pem(KEY) if held == "text" else str(tmp_path / "key.pem")
    worker_env.put("a.jpg")
    worker = worker_env.worker(**SIGNED, CLOUDFRONT_PRIVATE_KEY=key, LINK_EXPIRES_IN="3600")
    worker_env.send_request("a.jpg")

    answer = worker_env.answer()

    url = answer["substitutions"]["archiver_URL"]
    assert opened(url, KEY, 0).endswith("/Ferien%20%26%20Fotos%20%231.zip")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer["expires_at"])
    assert "Signature" not in worker.log
    assert "PRIVATE" not in worker.log


def test_answers_of_unsigned_links_are_as_they_were(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker_env.worker()
    worker_env.send_request("a.jpg")

    assert "expires_at" not in worker_env.answer()


def test_a_presigned_link_opens_the_archive_and_says_until_when(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker = worker_env.worker(LINKS="presigned", ARCHIVE_BASE_URL="", LINK_EXPIRES_IN="3600")
    worker_env.send_request("a.jpg")

    answer = worker_env.answer()

    assert len(read(answer["substitutions"]["archiver_URL"])) == answer["archive"]["size"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer["expires_at"])
    assert "X-Amz-Signature" not in worker.log


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"CLOUDFRONT_PRIVATE_KEY": "-----BEGIN NONSENSE"}, "CLOUDFRONT_PRIVATE_KEY: is not a private key in PEM"),
        ({"CLOUDFRONT_PRIVATE_KEY": "/none"}, "CLOUDFRONT_PRIVATE_KEY: is neither PEM text nor a readable file"),
        ({}, "CLOUDFRONT_PRIVATE_KEY: is required if CLOUDFRONT_KEY_ID is set"),
        (
            {"CLOUDFRONT_PRIVATE_KEY": "x", "ARCHIVE_BASE_URL": ""},
            "ARCHIVE_BASE_URL: is required if links are signed",
        ),
        (
            {"CLOUDFRONT_PRIVATE_KEY": "x", "LINK_EXPIRES_IN": "5"},
            "LINK_EXPIRES_IN: '5' should be a whole number from 60",
        ),
        ({"LINKS": "presigned"}, "CLOUDFRONT_KEY_ID: contradicts LINKS=presigned"),
    ],
)
def test_a_key_that_cannot_sign_stops_the_start(worker_env: WorkerEnv, settings: dict[str, str], problem: str) -> None:
    """F7"""
    ended = run_command("run", env=worker_env.settings(**SIGNED | settings))

    assert ended.returncode == 2
    assert any(line.startswith(problem) for line in ended.stderr.splitlines()), ended.stderr
    assert "Traceback" not in ended.stderr
