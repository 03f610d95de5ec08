"""Whatever a request says, what runs is a command line of the operator's file, with one word for each value."""

import json
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

import pytest
from core.operator_files import LANLYTICS, STUDY, THUMBNAILS, order_of, rules_of
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.command_order import CommandOrder
from archiver.errors import Rejected

RULES = rules_of(STUDY)
NASTY = [
    *("a b", "'", '"', "'; id #", "$(id)", "`id`", "a\nb", "\t", "{}", "{a}", "{{a}}", "{source}", "{arguments}", "-x"),
    *("--endpoint-url=http://x", "-", "--", "\0", "a\0b", "\\", "*", "~", "|", "&", ">x", "\u2028", "\ud800", "", " "),
    *("..", "/data/../etc/passwd", "/data/x y", "/data/-x", "/etc/passwd", "s3://mybucket/a b", "S3://MYBUCKET/x"),
    *(
        "s3://mybucket/-x",
        "s3://mybucket/../x",
        "s3://mybucket/{target}",
        "s3://bucket/path/a b",
        "s3://bucket/path/-x",
    ),
    *("s3://bucket/path/$(id)", "s3://photos/x'y", "s3://thumbs/small/\n", "file:///etc/passwd", "512", "1e3", "-5"),
]
texts = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=30), st.tuples(st.sampled_from(NASTY), st.text(max_size=5)).map("".join)
)
names = st.one_of(
    st.sampled_from(["a", "b", "source", "target", "width", "arguments", "command_template"]), st.text(max_size=5)
)
scalars = st.one_of(texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())
WORDS = ["aws", "aws2", "s3", "cp", "rm", "{a}", "{b}", "{source}", "'{a}'", "{a}{b}", "x{a}", "--no-progress"]
words = st.one_of(st.sampled_from(WORDS), texts)
LINES = [
    "aws s3 cp {a} {b}",
    "aws2 s3 cp s3://mybucket/{a} /data/{b}",
    "aws s3 cp '{a}' \"{b}\"",
    "aws s3 cp {a} {b} {a}",
]
templates = st.one_of(
    st.sampled_from(LINES),
    st.lists(words, max_size=8).map(" ".join),
    st.tuples(st.sampled_from(LINES), texts).map(" ".join),
)


def decided(body: dict[str, Any]) -> CommandOrder | None:
    """The order of a request; None: it is rejected."""
    try:
        return order_of(json.dumps(body), RULES)
    except Rejected:
        return None


def check_word(word: str) -> None:
    """A word that the system takes as it is."""
    assert "\0" not in word
    word.encode()


def check_copy(order: CommandOrder) -> None:
    argv = order.words("/job")
    source, target = argv[4:]

    assert argv[:4] == ["aws", "s3", "cp", "--no-progress"]
    assert source.startswith("s3://mybucket/")
    assert target.startswith("/data/")
    assert ".." not in target.split("/")
    for word in argv:
        check_word(word)


def check_arguments(order: CommandOrder, directory: str = "/job") -> None:
    """Each word is a name of the file, a local path, or a value that its pattern allows; names and values alternate."""
    argv = iter(order.words(directory))
    while pair := tuple(islice(argv, 2)):
        name, value = pair
        check_word(value)
        assert name in {"--infile", "--arg1", "--outfile"}
        folder = {"--infile": "/job/in/bucket/path/", "--outfile": "/job/out/bucket/path/"}.get(name)
        if folder is None:
            assert value.isprintable()
            assert not set(value) & set(" '\"{}$/")
            assert not value.startswith("-")
        else:
            assert value.startswith(folder)
            assert not {"", ".", ".."} & set(value.split("/")[1:])


def check_thumbnails(order: CommandOrder) -> None:
    argv = order.words("/job")
    assert argv[:3] == ["python", "/opt/tools/my_script.py", "--width"]
    assert 16 <= int(argv[3]) <= 4096
    assert len(argv) == 6
    assert argv[4].startswith("/job/in/photos/")
    assert argv[5].startswith("/job/out/thumbs/small/")
    for word in argv:
        check_word(word)


CHECKS = {"aws-s3-cp": check_copy, "my_service": check_arguments, "thumbnails": check_thumbnails}


@st.composite
def orders_of_mcai(draw: st.DrawFn) -> dict[str, Any]:
    given_names = draw(st.lists(names.filter(lambda name: name != "command_template"), unique=True, max_size=4))
    parameters: list[dict[str, Any]] = [{"id": "command_template", "type": "string", "value": draw(templates)}]
    for name in (*given_names, "a", "b"):
        if name not in [one["id"] for one in parameters]:
            value = draw(scalars)
            kind = (
                "string" if isinstance(value, str) else draw(st.sampled_from(["string", "integer", "float", "boolean"]))
            )
            parameters.append({"id": name, "type": kind, "value": value})
    return {"job_id": draw(st.integers(min_value=0, max_value=2**64 - 1)), "parameters": parameters}


@st.composite
def requests_of_lanlytics(draw: st.DrawFn) -> dict[str, Any]:
    kinds = st.sampled_from(["input", "output", "parameter"])
    flags = st.one_of(st.sampled_from(["--infile", "--arg1", "--outfile", "--other", ""]), texts, st.none())
    right = st.sampled_from(
        [
            ("input", "--infile", "s3://bucket/path/"),
            ("output", "--outfile", "s3://bucket/path/"),
            ("parameter", "--arg1", ""),
        ]
    )
    arguments: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(min_value=0, max_value=4))):
        kind, name, begin = draw(right)
        if draw(st.booleans()):
            arguments.append({"type": kind, "name": name, "value": begin + draw(texts)})
        else:
            arguments.append({"type": draw(kinds), "name": draw(flags), "value": draw(scalars)})
    command: dict[str, Any] = {"arguments": arguments, "stdin": {"type": "pipe", "value": draw(st.none() | texts)}}
    if draw(st.booleans()):
        command["input"] = [draw(texts)]
    return {"service": "my_service", "command": command}


@st.composite
def native_requests(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(["thumbnails", "my_service", "aws-s3-cp"]))
    parameters = draw(st.dictionaries(names, scalars, max_size=3))
    if draw(st.booleans()):
        parameters["width"] = draw(st.integers(min_value=0, max_value=5000))
    arguments = [
        {"type": "input", "value": f"s3://photos/{draw(texts)}"},
        {"type": "output", "value": f"s3://thumbs/small/{draw(texts)}"},
    ]
    return {"command": {"name": name, "parameters": parameters, "arguments": arguments}}


def check_request(body: dict[str, Any]) -> bool:
    """Check what becomes of *body*; return whether it would run."""
    order = decided(body)
    if order is not None:
        CHECKS[order.command.name](order)
    return order is not None


requests = st.one_of(orders_of_mcai(), requests_of_lanlytics(), native_requests())


@settings(max_examples=150, deadline=None)
@given(requests)
def test_no_request_reaches_a_command_line_that_is_not_in_the_file(body: dict[str, Any]) -> None:
    check_request(body)


def random_request(rng: Random) -> dict[str, Any]:
    """A request of Media Cloud AI, faster than a strategy makes one: half of them are nearly right."""

    def text() -> str:
        return rng.choice(NASTY) + rng.choice(["", "", rng.choice(NASTY), chr(rng.randrange(0x250))])

    def words() -> str:
        return " ".join(rng.choice([*WORDS, text()]) for _ in range(rng.randrange(8)))

    template = rng.choice([rng.choice(LINES), rng.choice(LINES), rng.choice(LINES) + text(), words()])
    begins = [("s3://mybucket/", "/data/"), ("", ""), (text(), text())]
    source, target = rng.choice(begins)
    values = {
        "command_template": template,
        "a": source + text(),
        "b": target + text(),
        rng.choice(["c", "source"]): text(),
    }
    parameters = [{"id": name, "type": "string", "value": value} for name, value in values.items()]
    return {"job_id": rng.randrange(2**64), "parameters": parameters}


@pytest.mark.slow
def test_nor_do_ten_thousand_templates_with_random_values() -> None:
    rng = Random(4711)
    ran = sum(check_request(random_request(rng)) for _ in range(10_000))

    assert ran > 300, "too few of them run to prove anything"


def values_in_their_places() -> Iterator[tuple[dict[str, Any], int]]:
    """Requests whose only unusual part is one value, and the place of its word."""
    for value in NASTY:
        parameters = [
            {"id": "command_template", "type": "string", "value": "aws s3 cp {a} {b}"},
            {"id": "a", "type": "string", "value": f"s3://mybucket/{value}"},
            {"id": "b", "type": "string", "value": f"/data/x{value}"},
        ]
        yield {"job_id": 1, "parameters": parameters}, 6
        arguments = [{"type": "input", "name": "--infile", "value": f"s3://bucket/path/x{value}"}]
        yield {"service": "my_service", "command": {"arguments": arguments}}, 2
        files = [
            {"type": "input", "value": f"s3://photos/x{value}"},
            {"type": "output", "value": f"s3://thumbs/small/x{value}"},
        ]
        yield {"command": {"name": "thumbnails", "arguments": files}}, 6


def test_a_value_is_one_word_or_refused() -> None:
    ran = 0
    for body, length in values_in_their_places():
        order = decided(body)
        if order is not None:
            ran += 1
            CHECKS[order.command.name](order)
            assert len(order.argv) == length
    assert ran > len(NASTY)


def test_a_value_that_the_operator_lets_be_anything_is_still_one_word() -> None:
    text = THUMBNAILS.replace('"{width}"', '"{width}", "{any}", "--x={any}"').replace(
        "width = {", "any = { type = \"text\", pattern = '(?s).*', dash = true }\nwidth = {"
    )
    rules = rules_of(text + LANLYTICS)
    files = [{"type": "input", "value": "s3://photos/i"}, {"type": "output", "value": "s3://thumbs/small/o"}]
    for value in NASTY:
        body = {"command": {"name": "thumbnails", "parameters": {"any": value}, "arguments": files}}
        if "\0" in value or "\ud800" in value:
            with pytest.raises(Rejected, match=r"parameter any|\$\.command\.parameters\.any "):
                order_of(json.dumps(body), rules)
        else:
            argv = order_of(json.dumps(body), rules).words("/job")
            assert argv[3:] == ["256", value, f"--x={value}", "/job/in/photos/i", "/job/out/thumbs/small/o"]
