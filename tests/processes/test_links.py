"""A worker with a signing key: its answers contain links that work, and it does not start with an unusable key."""

import re
from pathlib import Path

import pytest
from aws.test_presigned import read
from aws.test_signed_urls import KEY, opened, pem

from .archiver_process import run_command
from .worker_env import WorkerEnv

SIGNED = {"CLOUDFRONT_KEY_ID": "K1", "S3_FILE_PREFIX": "Ferien & Fotos #1"}


@pytest.mark.parametrize("key_source", ["text", "file"])
def test_the_answer_contains_a_signed_link_and_its_expiry_time(
    worker_env: WorkerEnv, key_source: str, tmp_path: Path
) -> None:
    """F8: the key as text and as a file; neither the key nor a signature is logged."""
    (tmp_path / "key.pem").write_text(pem(KEY))
    key = pem(KEY) if key_source == "text" else str(tmp_path / "key.pem")
    worker_env.put("a.jpg")
    worker = worker_env.worker(**SIGNED, CLOUDFRONT_PRIVATE_KEY=key, LINK_EXPIRES_IN="3600")
    worker_env.send_request("a.jpg")

    answer = worker_env.answer()

    url = answer["substitutions"]["archiver_URL"]
    assert opened(url, KEY, 0).endswith("/Ferien%20%26%20Fotos%20%231.zip")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer["expires_at"])
    assert "Signature" not in worker.log
    assert "PRIVATE" not in worker.log


def test_an_answer_with_an_unsigned_link_has_no_expiry_time(worker_env: WorkerEnv) -> None:
    worker_env.put("a.jpg")
    worker_env.worker()
    worker_env.send_request("a.jpg")

    assert "expires_at" not in worker_env.answer()


def test_a_presigned_link_works_and_the_answer_contains_its_expiry_time(worker_env: WorkerEnv) -> None:
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
def test_the_worker_does_not_start_with_an_unusable_signing_key(
    worker_env: WorkerEnv, settings: dict[str, str], problem: str
) -> None:
    """F7: exit code 2, and one line that names the setting and the problem."""
    ended = run_command("run", env=worker_env.settings(**SIGNED | settings))

    assert ended.returncode == 2
    assert any(line.startswith(problem) for line in ended.stderr.splitlines()), ended.stderr
    assert "Traceback" not in ended.stderr
