"""Folder markers are left out, or become folders of the zip, which every unzipper makes."""

from pathlib import Path
from typing import Any

import pytest
from interop.readers import assert_readable, run_reader
from worker.pipeline_env import PipelineEnv

from archiver.core.receipt_parser import ReceiptParser
from archiver.errors import Rejected

KEYS = ("src/", "src/a.txt", "src/empty/", "src/full/", "src/full/b.txt")
PREFIX = {"prefix": "src/", "folders": True}

SLOW = pytest.mark.slow


def env_with(*keys: str) -> PipelineEnv:
    env = PipelineEnv()
    for key in keys:
        env.stage.s3.put("source", key, b"" if key.endswith("/") else key.encode())
    return env


@pytest.mark.parametrize("compression", ["store", *(pytest.param(one, marks=SLOW) for one in ("deflate", "auto"))])
async def test_every_unzipper_makes_the_folders_of_an_archive(tmp_path: Path, compression: str) -> None:
    env = env_with(*KEYS)
    entries = [PREFIX, {"source": "src/empty/", "name": "one/two/"}, {"inline": "", "name": "three/"}]
    await env.run(files=entries, compression=compression)

    (path := tmp_path / "a.zip").write_bytes(env.stage.s3.objects[env.at].data)
    members = {
        "a.txt": b"src/a.txt",
        "empty/": b"",
        "full/": b"",
        "full/b.txt": b"src/full/b.txt",
        "one/two/": b"",
        "three/": b"",
    }
    assert list(env.archive()) == list(members)
    for tool, *options in (("unzip", "-q", path, "-d"), ("7z", "x", path), ("bsdtar", "-xf", path, "-C")):
        (into := tmp_path / str(tool)).mkdir()
        run_reader(str(tool), *(map(str, options)), f"-o{into}" if tool == "7z" else into)
        assert {str(each.relative_to(into)) for each in into.rglob("*") if each.is_dir()} == {
            "empty", "full", "one", "one/two", "three",
        }  # fmt: skip
        assert (into / "empty").stat().st_mode & 0o777 == 0o755
    assert_readable(path, members)


async def test_a_receipt_lists_folders_with_their_sources() -> None:
    env = env_with(*KEYS)
    await env.run(files=[PREFIX], on_missing="skip")

    members = ReceiptParser().feed(env.stage.s3.objects[env.receipt_at].data)
    assert {member.path: member.source for member in members}["empty/"] == "s3://source/src/empty/"
    assert env.answer["archive"]["files"] == 4


async def test_folder_markers_of_a_prefix_are_left_out_unless_the_entry_asks_for_them() -> None:
    env = env_with(*KEYS)
    await env.run(files=[{"prefix": "src/"}])
    assert list(env.archive()) == ["a.txt", "full/b.txt"]


@pytest.mark.parametrize(("on_missing", "found"), [("fail", Rejected), ("skip", {"b.txt", "_MISSING.txt"})])
async def test_a_folder_that_has_content_is_told(on_missing: str, found: Any) -> None:
    env = env_with("b.txt")
    env.stage.s3.put("source", "a/", b"content")
    files = [{"source": "a/", "name": "a/"}, {"source": "b.txt"}]
    if found is Rejected:
        with pytest.raises(Rejected, match=r"a/: invalid_request \(has content, and its `name` ends in /"):
            await env.run(files=files)
        return
    await env.run(files=files, on_missing=on_missing)
    assert set(env.archive()) == found
    with pytest.raises(Rejected, match=r"\$\.files\[0\] has content, and its `name` ends in /"):
        await env.run(files=[{"inline": "content", "name": "a/"}])


async def test_a_folder_is_there_once_and_a_file_of_its_name_is_numbered() -> None:
    env = env_with("x/d/", "y/d/", "y/d/1", "d", "D/")
    await env.run(files=[{**PREFIX, "prefix": "x/"}, {"source": "d"}, {**PREFIX, "prefix": "y/"}])

    assert list(env.archive()) == ["d/", "d (2)", "d/1"]
    assert env.answer["archive"]["files"] == 3
    assert env.answer["renamed"] == [{"source": "d", "from": "d", "to": "d (2)"}]


async def test_folders_alone_are_an_archive() -> None:
    env = env_with("x/", "x/a/", "x/a/b/")
    await env.run(files=[{**PREFIX, "prefix": "x/"}])
    assert list(env.archive()) == ["a/", "a/b/"]


async def test_folders_that_differ_in_case_are_both_kept() -> None:
    env = env_with("x/a/", "x/A/")
    await env.run(files=[{**PREFIX, "prefix": "x/"}], on_duplicate="fail")
    assert list(env.archive()) == ["A/", "a/"]
