"""`archiver verify` on archives in S3 and on files, as a process."""

import io
import json
import os
import struct
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from emulator import EmulatedAws
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from .cli_process import CliProcess


@pytest.fixture(scope="module")
def worker_env(emulated: EmulatedAws) -> Iterator[WorkerEnv]:
    """One for all: nothing here changes an archive but by another name."""
    with WorkerEnv(emulated) as worker_env:
        yield worker_env


@pytest.fixture(scope="module")
def archive(worker_env: WorkerEnv) -> str:
    """An archive of 30 files that a worker made; its `s3://` name."""
    for number in range(30):
        worker_env.put(f"{number}.bin", bytes([number]) * 3000)
    worker_env.worker()
    worker_env.send_request(*(f"{number}.bin" for number in range(30)))
    told = worker_env.answer()["archive"]
    return f"s3://{told['bucket']}/{told['key']}"


def verify(worker_env: WorkerEnv, *arguments: str, **settings: str) -> tuple[int, str, str]:
    ended = run_command("verify", *arguments, env=worker_env.settings(**settings))
    return ended.returncode, ended.stdout, ended.stderr


def broken(worker_env: WorkerEnv, archive: str) -> str:
    """The archive with one bit of its fifth body changed, beside it in the bucket."""
    key = archive.split("/", 3)[3]
    data = bytearray(worker_env.aws.s3.get_object(Bucket=worker_env.archives, Key=key)["Body"].read())
    data[data.index(bytes([4]) * 3000) + 7] ^= 1
    worker_env.aws.s3.put_object(
        Bucket=worker_env.archives, Key="broken.zip", Body=bytes(data), ChecksumAlgorithm="CRC32"
    )
    return f"s3://{worker_env.archives}/broken.zip"


def test_an_archive_of_ours_is_proved_without_reading_its_members(worker_env: WorkerEnv, archive: str) -> None:
    code, output, errors = verify(worker_env, archive)

    assert (code, errors) == (0, "")
    assert output.startswith("directory  30 members, 90,000 bytes unpacked")
    assert "contents   the members' CRC-32s make up the store's own" in output
    assert output.endswith("\nok\n")


def test_deep_reads_every_member_and_says_so_as_json(worker_env: WorkerEnv, archive: str) -> None:
    code, output, _ = verify(worker_env, archive, "--deep", "--json")

    told = json.loads(output)
    assert code == 0
    assert (told["ok"], told["members"], told["unpacked"]) == (True, 30, 90_000)
    assert (told["proof"], told["problems"], told["unchecked"]) == ("every member was read", [], [])


@pytest.mark.parametrize("how", ["shallow", "deep"])
def test_a_damaged_archive_is_a_no_and_deep_says_which_member(worker_env: WorkerEnv, archive: str, how: str) -> None:
    code, output, _ = verify(worker_env, broken(worker_env, archive), *(["--deep"] if how == "deep" else []))

    assert code == 1
    assert ("damaged    4.bin: has the CRC-32" if how == "deep" else "damaged    the store has the CRC-32") in output
    assert "\nok" not in output


def test_a_file_is_read_from_the_disk_and_told_broken_when_it_is_cut(
    worker_env: WorkerEnv, archive: str, tmp_path: Path
) -> None:
    key = archive.split("/", 3)[3]
    file = tmp_path / "photos.zip"
    file.write_bytes(worker_env.aws.s3.get_object(Bucket=worker_env.archives, Key=key)["Body"].read())

    assert verify(worker_env, str(file), "--deep")[0] == 0
    file.write_bytes(file.read_bytes()[:-10])
    code, _, errors = verify(worker_env, str(file))
    assert (code, errors) == (1, f"{file}: there is no zip end record: the file is incomplete, or not a zip\n")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("s3://{bucket}/none.zip", "s3://{bucket}/none.zip: no such key or bucket"),
        ("s3://{bucket}", "s3://{bucket} has no key"),
        ("nothing.zip", "nothing.zip: can't be read: No such file or directory"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(worker_env: WorkerEnv, name: str, sentence: str) -> None:
    code, output, errors = verify(worker_env, name.format(bucket=worker_env.archives))

    assert (code, output) == (2, "")
    assert errors.startswith(sentence.format(bucket=worker_env.archives))


def test_the_link_that_was_just_printed_can_be_verified(worker_env: WorkerEnv, archive: str) -> None:
    link = archive.replace(f"s3://{worker_env.archives}", "https://cdn.example/zips") + "?Signature=x"

    code, output, errors = verify(worker_env, link, ARCHIVE_BASE_URL="https://cdn.example/zips/")

    assert (code, errors) == (0, "")
    assert "contents   the members' CRC-32s make up the store's own" in output


class Ranges(BaseHTTPRequestHandler):
    """Serves `body` by ranges, as its path says: `/whole` knows none, `/changed` is another one at each request."""

    body = b""

    def do_GET(self) -> None:
        start, end = (int(text) for text in self.headers["Range"].removeprefix("bytes=").split("-"))
        if self.path == "/changed" and self.headers["If-Match"]:
            self.send_error(412)
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        part = self.body[start : end + 1] if self.path != "/whole" else self.body
        self.send_response(206 if self.path != "/whole" else 200)
        if self.path != "/unsized":
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(self.body)}")
        self.send_header("ETag", '"one"')
        part += b"x" * (self.path == "/longer" and start > 0)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a.txt", b"words " * 1000)
    Ranges.body = out.getvalue()
    with ThreadingHTTPServer(("127.0.0.1", 0), Ranges) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "code", "sentence"),
    [
        ("archive.zip", 0, ""),
        ("whole", 2, "the server does not support range requests; download the archive and verify the file"),
        ("unsized", 2, "the server does not report the size; download the archive and verify the file"),
        ("changed", 1, "changed while it was read; try again"),
        ("gone", 2, "can't be read: HTTP 404 Not Found"),
        ("longer", 3, "the server sent a wrong number of bytes; try again"),
    ],
)
def test_an_archive_behind_any_link_is_read_by_ranges(site: str, path: str, code: int, sentence: str) -> None:
    ended = run_command("verify", f"{site}/{path}", "--deep", env={})

    assert ended.returncode == code
    assert ended.stderr == (f"{site}/{path}: {sentence}\n" if sentence else "")
    assert ("ok" in ended.stdout.splitlines()) is (code == 0)


def test_a_link_that_leads_nowhere_is_told(site: str) -> None:
    ended = run_command("verify", "http://127.0.0.1:1/a.zip", env={})

    assert (ended.returncode, ended.stderr.count("\n")) == (3, 1)
    assert ended.stderr.startswith("http://127.0.0.1:1/a.zip: can't be read: ")


def test_what_is_no_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", tmp_path):
        ended = run_command("verify", str(path), env={})
        assert (ended.returncode, ended.stderr) == (2, f"{path}: is not a regular file; name a file\n")


def test_a_file_that_claims_to_be_enormous_is_judged_in_little_memory(tmp_path: Path) -> None:
    """Of a hole of a terabyte nothing is held: neither a directory that long nor one that ends at once."""
    for members, length, sentence in (
        (1 << 25, 1 << 40, "at most 2,000,000"),
        (100_000, 400 << 20, "the central directory is damaged at its byte 0"),
    ):
        with (tmp_path / "hole.zip").open("wb") as file:
            file.truncate(length)
            file.seek(length)
            file.write(struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, length, 0))
            file.write(struct.pack("<4sIQI", b"PK\6\7", 0, length, 1))
            file.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0))
        with CliProcess(["verify", str(tmp_path / "hole.zip"), "--deep"], {}) as judged:
            code, _ = judged.end()
        assert code == 1
        assert sentence in judged.errors
        assert "Traceback" not in judged.errors
