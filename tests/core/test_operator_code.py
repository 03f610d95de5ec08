"""No value of a request may stand where a shell or an interpreter reads code."""

import json

import pytest

from archiver.core.operator_policy import OperatorPolicy, PolicyError


def parse(*argv: str) -> None:
    text = f'[commands.c]\nargv = {json.dumps(argv)}\n[commands.c.parameters]\nx = {{type = "text", pattern = ".*"}}\n'
    OperatorPolicy.parse(text.encode())


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "{x}"],
        ["sh", "-c", "exec tool {x}"],
        ["/bin/bash", "-ec", "tool '{x}'"],
        ["bash", "-o", "pipefail", "-c", "tool {x}"],
        ["bash", "-c", "-o", "pipefail", "tool {x}"],
        ["bash", "-c", "+e", "--", "tool {x}"],
        ["python3.11", "-Ic", "print('{x}')"],
        ["python", "-W", "error", "-c", "{x}"],
        ["python", "-cprint({x})"],
        ["perl", "-ne", "1", "-e", "{x}"],
        ["node", "--eval={x}"],
        ["node", "--eval", "{x}"],
        ["timeout", "10", "nice", "sh", "-c", "{x}"],
        ["env", "A=1", "/bin/dash", "-c", "{x}"],
        ["env", "-S", "sh -c {x}"],
        ["env", "--split-string={x}"],
        ["busybox", "sh", "-c", "{x}"],
    ],
)
def test_a_placeholder_in_code_is_refused_with_what_to_write_instead(argv: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        parse(*argv)

    (problem,) = caught.value.problems
    assert problem == (
        f"line 2: [commands.c] argv has {{x}} in what {argv[0]} runs as code: a value could be a command of its own. "
        "Write the code without it, and the value as a word behind it, "
        'such as ["sh", "-c", \'exec tool "$1"\', "sh", "{x}"]'
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", 'exec tool "$1"', "sh", "{x}"],
        ["sh", "-c", "tool", "sh", "-c", "{x}"],
        ["python3", "/opt/tool.py", "-c", "{x}"],
        ["python3", "-m", "tool", "-c", "{x}"],
        ["python3", "{x}", "-c"],
        ["perl", "-e", "print @ARGV", "{x}", "-v"],
        ["grep", "-c", "{x}"],
        ["tool", "--shell", "sh", "-c", "{x}"],
        ["env", "A={x}", "tool", "-c", "{x}"],
        ["timeout", "10", "tool", "sh={x}"],
    ],
)
def test_a_value_that_is_a_word_behind_the_code_is_allowed(argv: list[str]) -> None:
    parse(*argv)
