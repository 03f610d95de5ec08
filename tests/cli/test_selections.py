"""Commands that select objects: `--prefix` with its filters, and `--manifest`."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from processes.archiver_process import run_command
from processes.worker_env import WorkerEnv

from archiver.cli.answer import print_answer
from archiver.cli.build_context import check_request
from archiver.cli.console import CommandError
from archiver.cli.request_input import MAX_BODY_BYTES, RequestInput, build_body, file_count, unknown_fields
from archiver.cli.selection_input import SelectionInput, parse_place, parse_where
from archiver.core import patterns
from archiver.core.locations import Location
from archiver.settings import load_environment


def files_of(**selection: Any) -> list[Any]:
    return list(json.loads(build_body(RequestInput(None, selection=SelectionInput(**selection))))["files"])


def test_options_make_an_entry_for_each_prefix() -> None:
    assert files_of(
        prefixes=["src/=texts", "s3://photos/"],
        regex="a.*",
        where=["size>0", "count <= 5"],
        recursive=False,
        folders=True,
    ) == [
        {
            "prefix": prefix,
            **folder,
            "regex": "a.*",
            "recursive": False,
            "folders": True,
            "where": {"size": {"gt": 0}, "count": {"max": 5}},
        }
        for prefix, folder in (("src/", {"destination": "texts"}), ("s3://photos/", {}))
    ]
    assert files_of(prefixes=["src/"]) == [{"prefix": "src/"}]


def test_manifests_are_put_into_a_folder_with_or_without_its_slash() -> None:
    for place in ("s3://photos/lists", "s3://photos/lists/"):
        assert parse_place(place) == Location("photos", "lists/")
    assert parse_place("s3://photos") == parse_place("s3://photos/") == Location("photos", "")
    with pytest.raises(CommandError, match=r"--manifest-to lists/: should be s3://bucket/prefix/"):
        parse_place("lists/")


def test_conditions_are_bounds() -> None:
    assert parse_where(["size>0", " size < 10MiB ", "age>60", "age<3600", "count>=1", "count<=5000"]) == {
        "size": {"gt": 0, "lt": "10MiB"},
        "age": {"gt": 60, "lt": 3600},
        "count": {"min": 1, "max": 5000},
    }


@pytest.mark.parametrize("text", ["", "size", "size>", "size>=1", "count>1", "name>1", "size=1", "size>1 and age<2"])
def test_another_condition_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(CommandError, match=r"--where|should be a number of bytes"):
        files_of(prefixes=["a"], where=[text])


def test_filters_need_a_prefix_and_a_bad_one_is_told_as_by_the_worker() -> None:
    for selection in ({"regex": "a"}, {"where": ["size>0"]}, {"recursive": False}, {"folders": True}):
        with pytest.raises(CommandError, match="need a --prefix"):
            files_of(**selection)
    with pytest.raises(CommandError, match=r"files\[0\]\.where\.size allows nothing"):
        files_of(prefixes=["a"], where=["size>5", "size<5"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "source,destination\na.jpg,x\nb.jpg\n"),
        ("m.jsonl", '{"source": "a.jpg", "destination": "x"}\n{"source": "b.jpg"}\n'),
        ("m.json", '{"files": [{"source": "a.jpg", "destination": "x"}, {"source": "b.jpg"}]}'),
    ],
)
def test_a_manifest_that_is_a_local_file_becomes_the_files_of_the_request(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert files_of(manifest=str(file)) == [{"source": "a.jpg", "destination": "x"}, {"source": "b.jpg"}]


def test_a_manifest_that_is_no_file_or_no_manifest_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't be read"):
        files_of(manifest=str(tmp_path / "none.csv"))
    (tmp_path / "bad.jsonl").write_text('{"source": "a"}\n{"source"\n')
    with pytest.raises(CommandError, match=r"bad\.jsonl: line 2: is not JSON"):
        files_of(manifest=str(tmp_path / "bad.jsonl"))


def test_a_manifest_without_entries_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("source,destination\n")
    with pytest.raises(CommandError, match=r"empty\.csv: has no entry"):
        files_of(manifest=str(tmp_path / "empty.csv"))


def test_a_bound_that_is_given_twice_is_refused() -> None:
    """Otherwise the last one would win, and the archive have objects that the first one excludes."""
    with pytest.raises(CommandError, match="--where size>0: size has this bound already"):
        parse_where(["size>5", "size>0"])


def test_a_manifest_in_s3_is_named_and_not_read() -> None:
    body = build_body(RequestInput(None, selection=SelectionInput(manifest="S3://lists/m.csv")))
    assert json.loads(body) == {"manifest": "S3://lists/m.csv"}
    with pytest.raises(CommandError, match="beside manifest"):
        build_body(RequestInput(None, ["a.jpg"], selection=SelectionInput(manifest="s3://lists/m.csv")))


def test_the_fields_of_all_entries_are_known() -> None:
    files = [{"prefix": "a", "where": {}, "regexp": "x"}, {"inline": "x", "name": "y"}]
    assert [line.partition(" ")[0] for line in unknown_fields({"files": files, "on_empty": 1, "manifest": 2})] == [
        "$.files[0].regexp"
    ]


def test_the_number_of_files_is_told_where_it_is_known() -> None:
    assert file_count({"files": [{"source": "a"}, {"inline": "x"}]}) == "2 files"
    assert file_count({"files": [{"prefix": "a"}]}) == file_count({"manifest": "s3://a/b"}) == "a selection of files"


def test_a_sender_without_re2_leaves_patterns_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    body, settings = '{"files": [{"prefix": "a", "regex": "("}]}', load_environment({"S3_SOURCE_BUCKET": "photos"})
    with pytest.raises(CommandError, match="has a regex that is not an expression of RE2"):
        check_request(body, settings)
    monkeypatch.setattr(patterns, "find_spec", lambda _: None)
    check_request(body, settings)


def test_a_skipped_job_is_told_and_has_no_link(capsys: pytest.CaptureFixture[str]) -> None:
    print_answer({"status": "skipped", "archive": None, "substitutions": {}, "missing": []}, as_json=False)
    printed = capsys.readouterr()
    assert (printed.out, "there is no archive" in printed.err) == ("", True)


def test_a_dry_run_lists_a_prefix_and_counts_its_calls(worker_env: WorkerEnv) -> None:
    for key in ("src/a.txt", "src/b.jpg", "src/deep/c.txt"):
        worker_env.put(key, b"x")
    ended = run_command("plan", "--prefix=src/=texts", "--regex", r".*\.txt", "--json", env=worker_env.settings())
    told = json.loads(ended.stdout)
    assert [one["path"] for one in told["members"]] == ["texts/a.txt", "texts/deep/c.txt"]
    assert (told["calls"]["ListObjectsV2"], told["calls"]["HeadObject"]) == (2, 1)  # one is for receipts
    none = run_command("plan", "--prefix=none/", "--on-empty=skip", "--json", env=worker_env.settings())
    assert (none.returncode, json.loads(none.stdout)) == (0, {"status": "skipped"})


def test_an_archive_is_made_of_prefixes_and_of_a_manifest(worker_env: WorkerEnv, tmp_path: Path) -> None:
    for key in ("src/a.txt", "src/b.jpg", "c.txt"):
        worker_env.put(key, key.encode())
    worker_env.put("lists/m.csv", b"src/a.txt,x.txt\n")
    output, env = tmp_path / "a.zip", worker_env.settings()

    listed = tmp_path / "list.jsonl"
    listed.write_text('{"source": "c.txt"}\n{"prefix": "src/"}')
    assert run_command("create", f"--manifest={listed}", f"--output={output}", env=env).returncode == 0
    assert zipfile.ZipFile(output).namelist() == ["c.txt", "a.txt", "b.jpg"]

    pointer = f"--manifest=s3://{worker_env.sources}/lists/m.csv"
    assert run_command("create", pointer, f"--output={output}", "--force", env=env).returncode == 0
    assert zipfile.ZipFile(output).namelist() == ["x.txt"]

    none = run_command(
        "create", "--prefix=none/", "--on-empty=skip", f"--output={output}", "--force", "--json", env=env
    )
    assert (none.returncode, json.loads(none.stdout)) == (0, {"status": "skipped"})


def test_a_request_that_is_too_long_is_sent_as_a_manifest_where_the_operator_says(
    worker_env: WorkerEnv, tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("".join(f"{'x' * 100}/{number}.jpg\n" for number in range(12_000)))
    env = worker_env.settings()

    refused = run_command("send", f"--manifest={listed}", env=env)
    assert refused.returncode == 2
    assert f"SQS allows {MAX_BODY_BYTES:,}; split it into several requests, or name a place" in refused.stderr

    send = ("send", f"--manifest={listed}", f"--manifest-to=s3://{worker_env.sources}/lists/", "--job-id=j")
    denied = run_command(*send, env={**env, "S3_ALLOWED_SOURCES": f"{worker_env.sources}/{'x' * 100}/"})
    assert (denied.returncode, "source_not_allowed: $.manifest" in denied.stderr) == (2, True)
    assert worker_env.aws.s3.list_objects_v2(Bucket=worker_env.sources)["KeyCount"] == 0  # nothing was uploaded

    sent = run_command(*send, env=env)
    assert sent.returncode == 0, sent.stderr
    (message,) = worker_env.aws.all_messages(worker_env.source)
    request = json.loads(message["Body"])
    assert request == {"job_id": "j", "manifest": request["manifest"]}
    key = request["manifest"].removeprefix(f"s3://{worker_env.sources}/")
    stored = worker_env.aws.s3.get_object(Bucket=worker_env.sources, Key=key)["Body"].read()
    assert len(json.loads(stored)["files"]) == 12_000
