"""Where commands may read and write, and which of several commands a command line means."""

import pytest
from core.operator_files import ALL_TYPES, mcai, native, order_of, rejected, rules_of, words_of

from archiver.core.command_order import Confined
from archiver.errors import Rejected

DIGEST = "0f" * 32


@pytest.mark.parametrize("key", [f"{DIGEST}/download.zip", DIGEST, f"{DIGEST}/x/y"])
def test_no_output_can_be_where_archives_and_results_are(key: str) -> None:
    text = ALL_TYPES.replace('["dst"]', '["dst", "zips"]')
    values = {"in": "s3://src/k", "text": ""}
    refused = rejected(native(name="all", parameters={**values, "out": f"s3://zips/{key}"}), text)
    assert (refused.code, "is where archives and results of jobs are" in refused.message) == (
        "command_not_allowed",
        True,
    )
    for other in ("0f/x", f"{DIGEST}0/x", f"{DIGEST[1:]}g/x"):
        words_of(native(name="all", parameters={**values, "out": f"s3://zips/{other}"}), rules_of(text))
        words_of(native(name="all", parameters={**values, "out": f"s3://dst/{key}"}), rules_of(text))


@pytest.mark.parametrize(
    ("prefix", "refused"),
    [("", True), ("0f", True), (DIGEST, True), (f"{DIGEST}/", True), ("out/", False), (f"{DIGEST}1", False)],
)
def test_nor_what_a_prefix_would_write(prefix: str, refused: bool) -> None:
    text = ALL_TYPES.replace('["dst"]', '["dst", "zips"]')
    body = native(
        name="all", parameters={"in": "s3://src/k", "out": "s3://dst/o", "text": ""}, output=[f"s3://zips/{prefix}"]
    )
    if refused:
        assert rejected(body, text).code == "command_not_allowed"
    else:
        order_of(body, rules_of(text))


TWO = """
[commands.download]
argv = ["aws", "s3", "cp", "{s}", "{t}"]
accepts = ["aws s3 cp {s} {t}"]
[commands.download.parameters]
s = { type = "s3_uri", allowed = ["mybucket"] }
t = { type = "path", under = "/data" }
[commands.upload]
argv = ["aws", "s3", "cp", "{s}", "{t}"]
accepts = ["aws s3 mv {s} {t}", "aws s3 cp {s} {t}"]
[commands.upload.parameters]
s = { type = "path", under = "/data" }
t = { type = "s3_uri", allowed = ["mybucket"] }
"""


def test_the_first_command_whose_types_fit_is_meant() -> None:
    rules = rules_of(TWO)

    assert order_of(mcai("aws s3 cp s3://mybucket/a /data/a"), rules).command.name == "download"
    assert order_of(mcai("aws s3 cp /data/a s3://mybucket/a"), rules).command.name == "upload"
    refused = rejected(mcai("aws s3 cp /etc/a s3://mybucket/a"), TWO)
    assert "parameter s should be an S3 URI" in refused.message
    assert "parameter s should be an absolute path below /data" in refused.message


def test_paths_that_must_exist_are_below_paths_of_the_command() -> None:
    template = "aws s3 cp /data/a s3://mybucket/a"
    assert order_of(mcai(template, "/data/a", "/data/b/c"), rules_of(TWO)).awaited == (
        Confined("/data/a", "/data"),
        Confined("/data/b/c", "/data"),
    )
    for path in ("/etc/shadow", "/data/../etc/shadow"):
        assert "is below no path of the command" in rejected(mcai(template, path), TWO).message


def test_a_flag_takes_no_value() -> None:
    def words(value: object) -> list[str]:
        arguments = [{"type": "parameter", "name": "-v", "value": value}]
        values = {"in": "s3://src/k", "out": "s3://dst/o", "text": ""}
        return words_of(native(name="all", parameters=values, arguments=arguments), rules_of(ALL_TYPES))

    assert words(None)[-1] == "-v"
    with pytest.raises(Rejected, match="takes no value"):
        words(True)
