"""`archiver verify` on archives in S3 and on files, as a process."""

import json
from pathlib import Path

import pytest
from worker.process import command
from worker.scene import Scene


@pytest.fixture
def archive(scene: Scene) -> str:
    """An archive of 30 files that a worker made; its `s3://` name."""
    for number in range(30):
        scene.put(f"{number}.bin", bytes([number]) * 3000)
    scene.worker()
    scene.ask(*(f"{number}.bin" for number in range(30)))
    told = scene.answer()["archive"]
    return f"s3://{told['bucket']}/{told['key']}"


def verify(scene: Scene, *arguments: str) -> tuple[int, str, str]:
    ended = command("verify", *arguments, env=scene.settings())
    return ended.returncode, ended.stdout, ended.stderr


def broken(scene: Scene, archive: str) -> str:
    """The archive with one bit of its fifth body changed, beside it in the bucket."""
    key = archive.split("/", 3)[3]
    data = bytearray(scene.aws.s3.get_object(Bucket=scene.archives, Key=key)["Body"].read())
    data[data.index(bytes([4]) * 3000) + 7] ^= 1
    scene.aws.s3.put_object(Bucket=scene.archives, Key="broken.zip", Body=bytes(data), ChecksumAlgorithm="CRC32")
    return f"s3://{scene.archives}/broken.zip"


def test_an_archive_of_ours_is_proved_without_reading_its_members(scene: Scene, archive: str) -> None:
    code, output, errors = verify(scene, archive)

    assert (code, errors) == (0, "")
    assert output.startswith("directory  30 members, 90,000 bytes unpacked")
    assert "contents   the members' CRC-32s make up the store's own" in output
    assert output.endswith("\nok\n")


def test_deep_reads_every_member_and_says_so_as_json(scene: Scene, archive: str) -> None:
    code, output, _ = verify(scene, archive, "--deep", "--json")

    told = json.loads(output)
    assert code == 0
    assert (told["ok"], told["members"], told["unpacked"]) == (True, 30, 90_000)
    assert (told["proof"], told["problems"], told["unchecked"]) == ("every member was read", [], [])


@pytest.mark.parametrize("how", ["shallow", "deep"])
def test_a_damaged_archive_is_a_no_and_deep_says_which_member(scene: Scene, archive: str, how: str) -> None:
    code, output, _ = verify(scene, broken(scene, archive), *(["--deep"] if how == "deep" else []))

    assert code == 1
    assert ("damaged    4.bin: has the CRC-32" if how == "deep" else "damaged    the store has the CRC-32") in output
    assert "\nok" not in output


def test_a_file_is_read_from_the_disk_and_told_broken_when_it_is_cut(
    scene: Scene, archive: str, tmp_path: Path
) -> None:
    key = archive.split("/", 3)[3]
    file = tmp_path / "photos.zip"
    file.write_bytes(scene.aws.s3.get_object(Bucket=scene.archives, Key=key)["Body"].read())

    assert verify(scene, str(file), "--deep")[0] == 0
    file.write_bytes(file.read_bytes()[:-10])
    code, _, errors = verify(scene, str(file))
    assert (code, errors) == (1, f"{file}: no zip ends like this: it is cut short, or no zip at all\n")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("s3://{bucket}/none.zip", "s3://{bucket}/none.zip: no such key or bucket"),
        ("s3://{bucket}", "s3://{bucket} names no key"),
        ("nothing.zip", "nothing.zip: can't be read: No such file or directory"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(scene: Scene, name: str, sentence: str) -> None:
    code, output, errors = verify(scene, name.format(bucket=scene.archives))

    assert (code, output) == (2, "")
    assert errors.startswith(sentence.format(bucket=scene.archives))
