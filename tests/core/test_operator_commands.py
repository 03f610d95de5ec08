"""`[defaults]` and `[commands]` of the operator's policy file: what they allow, and what is told of mistakes."""

import pytest
from core.operator_files import STUDY, THUMBNAILS

from archiver.core.commands import (
    ALL_ARGUMENTS,
    AllowedArgument,
    CommandCredentials,
    Container,
    Limits,
    Parameter,
    Placeholder,
)
from archiver.core.locations import AllowList
from archiver.core.operator_policy import OperatorPolicy, PolicyError

ROLE = "arn:aws:iam::210987654321:role/jobs"


def problems(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        OperatorPolicy.parse(text.encode())
    return caught.value.problems


def test_a_file_without_commands_allows_none() -> None:
    assert OperatorPolicy.parse(b"[defaults]\ntimeout = 5\n[commands]\n").commands == {}


def test_the_file_of_the_study_is_read() -> None:
    commands = OperatorPolicy.parse(STUDY.encode()).commands

    assert list(commands) == ["aws-s3-cp", "my_service", "thumbnails"]
    copy, service, thumbnails = commands.values()
    assert copy.argv[-2:] == ((Placeholder("source"),), (Placeholder("target"),))
    assert copy.accepts[0] == ("aws2", "s3", "cp", Placeholder("source"), Placeholder("target"))
    assert copy.credentials == CommandCredentials()
    assert copy.limits == Limits(timeout=3600, output=1024 * 1024)
    assert copy.parameters["source"] == Parameter("s3_uri", allowed=AllowList("", {"mybucket": ("",)}))
    assert copy.parameters["target"] == Parameter("path", under="/data")
    assert service.container == Container("registry.example.com/tools/my_service@sha256:6f1e", "none", "never")
    assert (service.retry_exit_codes, service.runner) == (frozenset({75}), "docker")
    assert service.arguments["--arg1"] == AllowedArgument("parameter", Parameter("text", r"[\w.-]{1,64}"))
    assert service.inputs == service.outputs == AllowList("", {"bucket": ("path/",)})
    assert thumbnails.argv[-1] == (ALL_ARGUMENTS,)
    assert thumbnails.parameters["width"] == Parameter("integer", min=16, max=4096, default=256)
    assert thumbnails.positional == (AllowedArgument("input"), AllowedArgument("output"))
    assert not thumbnails.at_most_once


def test_each_command_has_its_own_limits_and_those_of_all() -> None:
    text = f"""
        [defaults]
        timeout = 60
        disk = 1000
        memory = "1GB"
        cpus = 0.5
        output = "1kB"
        max_inputs = 7
        [commands.a]
        argv = ["/usr/bin/a"]
        [commands."team/b.c-d"]
        argv = ["b", "--file={{f}}", "{{{{}}}}"]
        runner = "docker"
        image = "b"
        pull = "missing"
        network = "bridge"
        cpus = 2
        disk = "1MiB"
        aws = true
        role_arn = "{ROLE}"
        env = {{ LANG = "C", EMPTY = "" }}
        overwrite = true
        at_most_once = true
        description = "B"
        parameters.f = {{ type = "input" }}
    """
    one, other = OperatorPolicy.parse(text.encode()).commands.values()

    assert one.limits == Limits(60, 1000, 10**9, 0.5, 1000, 7)
    assert other.limits == Limits(60, 1024 * 1024, 10**9, 2, 1000, 7)
    assert other.argv == (("b",), ("--file=", Placeholder("f")), ("{}",))
    assert other.container == Container("b", "bridge", "missing")
    assert other.credentials == CommandCredentials(role_arn=ROLE)
    assert (other.env, other.overwrite, other.at_most_once, other.description) == (
        {"LANG": "C", "EMPTY": ""},
        True,
        True,
        "B",
    )


def test_a_secret_of_the_environment_is_in_no_text() -> None:
    text = '[commands.a]\nargv = ["a"]\n[commands.a.env]\nTOKEN = "hush"\n'
    assert "hush" not in repr(OperatorPolicy.parse(text.encode()))


COMMAND = "[commands.c]\n"
C = '[commands.c]\nargv = ["c"]\n'
IN_C = "[commands.c] "
PARAMETER = '[commands.c]\nargv = ["c", "{p}"]\n[commands.c.parameters]\np = '
IN_P = "line 4: [commands.c.parameters.p] "
ARGUMENT = '[commands.c]\nargv = ["c", "{arguments}"]\n[commands.c.arguments]\n'
IN_A = "line 4: [commands.c.arguments.--a] "
TYPES = "one of text, text_list, integer, number, boolean, s3_uri, path, input, output"
PLACES = 'a list of places, such as ["bucket/prefix/"]'
DISK = (
    "line 2: [defaults] disk should be a number of bytes, or text such as 2GiB: should be a number of bytes, or text "
    "such as 10MiB (B, kB, MB, GB, TB; KiB, MiB, GiB, TiB)"
)
NAME = "line 1: [commands] -c can't be a name: write letters, digits and _ . / -, beginning with one of the first three"
KNOWN = (
    "runner, argv, accepts, description, image, network, pull, aws, role_arn, profile, env, inputs, outputs, "
    "overwrite, retry_exit_codes, at_most_once, parameters, arguments, timeout, disk, memory, cpus, output, max_inputs"
)
RE2 = "an expression of RE2 of at most 256 characters, for the whole value"
SEVERAL = "it becomes several words, and needs one of its own"
UNDER = 'an absolute path other than /, without . and .., such as "/data"'
ANY_NAME = "write 1 to 128 characters, no braces, and not arguments"
NO_IMAGE = 'has no image: write image = "registry.example.com/tool:1.2", or remove runner'
NO_ALLOWED = 'has no allowed: write allowed = ["bucket/prefix/"], all that it may name'
POSITIONAL = 'write positional = [{ type = "input" }, { type = "output" }]'
A_ROLE = 'write role_arn = "arn:aws:iam::123456789012:role/NAME"'
FREE = 'has neither pattern nor choices: write pattern = "[a-z]+" or choices = ["a", "b"], all that it may be'
ARGV = 'write argv = ["program", "{parameter}"], with each word in quotes of its own'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[command]", "line 1: command is unknown; did you mean commands?"),
        ("commands = 1", "line 1: commands is not a section: write [commands]"),
        ("[defaults]\ntimeout = 0", "line 2: [defaults] timeout should be a number of seconds, at most 43,200"),
        ("[defaults]\ntimeout = 43201", "line 2: [defaults] timeout should be a number of seconds, at most 43,200"),
        ("[defaults]\ntimeouts = 9", "line 2: [defaults] timeouts is unknown; did you mean timeout?"),
        ("[defaults]\ndisk = '2 apples'", DISK),
        ("[defaults]\nmemory = true", "line 2: [defaults] memory should be a number of bytes, or text such as 1GiB"),
        ("[defaults]\nmax_inputs = 1.5", "line 2: [defaults] max_inputs should be a whole number above 0"),
        ("[defaults]\ncpus = '1'", "line 2: [defaults] cpus should be a number above 0"),
        ("[commands]\nc = 1", "line 2: [commands] c is not a section: write [commands.c]"),
        ('[commands."-c"]\nargv = ["c"]', NAME),
        (COMMAND, f"line 1: [commands] c has no argv: {ARGV}"),
        (f"{COMMAND}argv = 'c d'", f"line 2: {IN_C}argv should be a list of words: {ARGV}"),
        (f"{COMMAND}argv = []", f"line 2: {IN_C}argv should be a list of words: {ARGV}"),
        (
            f"{COMMAND}argv = ['c', '{{']",
            f"line 2: {IN_C}argv has a {{ without }} in the word {{: write {{{{ for a brace",
        ),
        (
            f"{COMMAND}argv = ['c', '{{p}}']",
            f"line 2: {IN_C}argv has {{p}}, which is no parameter: add it to parameters; write {{{{ for a brace",
        ),
        (
            f"{COMMAND}argv = ['{{arguments}}']",
            f"line 2: {IN_C}argv begins with a placeholder: the first word is the program, and yours alone",
        ),
        (
            f"{COMMAND}argv = ['./c']",
            f"line 2: {IN_C}argv begins with ./c: write an absolute path, or a name that PATH finds",
        ),
        (f"{COMMAND}argv = ['c', '{{arguments}}', '{{arguments}}']", f"line 2: {IN_C}argv has {{arguments}} twice"),
        (f"{COMMAND}argv = ['c', '-{{arguments}}']", f"line 2: {IN_C}argv has {{arguments}} inside a word: {SEVERAL}"),
        (
            f"{C}[commands.c.arguments]\n'--a' = {{type = 'input'}}",
            f"line 2: {IN_C}argv has no {{arguments}}: add it where the arguments of requests belong",
        ),
        (f"{C}parameters.p = {{type = 'boolean'}}", f"line 2: {IN_C}argv has no {{p}}: the parameter would go nowhere"),
        (
            f"{C}accepts = 'c'",
            f'line 3: {IN_C}accepts should be a list of command lines, such as ["aws s3 cp {{source}} {{target}}"]',
        ),
        (
            f"{C}accepts = ['c x{{y}}']",
            f"line 3: {IN_C}accepts has a placeholder inside the word x{{y}}: it takes a whole word",
        ),
        (
            f"{C}accepts = ['c {{y}}']",
            f"line 3: {IN_C}accepts has {{y}}, which is no parameter of one word: add it to parameters",
        ),
        (f"{C}colour = 1", f"line 3: {IN_C}colour is unknown; known here: {KNOWN}"),
        (f"{C}runner = 'podman'", f"line 3: {IN_C}runner should be native or docker"),
        (f"{C}image = 'x'", f'line 3: {IN_C}image is of docker alone: add runner = "docker", or remove it'),
        (f"{C}runner = 'docker'", f"line 1: [commands] c {NO_IMAGE}"),
        (
            f"{C}runner = 'docker'\nimage = '--privileged'",
            f"line 4: {IN_C}image should be the name of an image, such as registry.example.com/tool:1.2",
        ),
        (f"{C}runner = 'docker'\nimage = 'i'\npull = 'always'", f"line 5: {IN_C}pull should be never or missing"),
        (
            f"{C}runner = 'docker'\nimage = 'i'\nnetwork = '-x'",
            f"line 5: {IN_C}network should be the name of a network of docker, or none",
        ),
        (f"{C}aws = 'yes'", f"line 3: {IN_C}aws should be true or false"),
        (f"{C}aws = true\nrole_arn = 'x'", f"line 4: {IN_C}role_arn is not the ARN of a role: {A_ROLE}"),
        (f"{C}role_arn = '{ROLE}'", f"line 3: {IN_C}role_arn has no effect without aws = true: add that, or remove it"),
        (f"{C}profile = 'p'", f"line 3: {IN_C}profile has no effect without aws = true: add that, or remove it"),
        (
            f"{C}aws = true\nprofile = 'p'\nrole_arn = '{ROLE}'",
            f"line 4: {IN_C}profile is there beside role_arn: a command has one of them",
        ),
        (
            f"{C}env = {{ 'A=B' = 'x' }}",
            f"line 3: {IN_C[:-2]}.env] A=B is no name of a variable: write letters, digits and _",
        ),
        (f"{C}env = {{ A = 1 }}", f"line 3: {IN_C[:-2]}.env] A should be a text, in quotes, without NUL"),
        (
            f"{C}inputs = ['s3://b']",
            f"line 3: {IN_C}inputs should be {PLACES}: `s3://b` does not start with a bucket name",
        ),
        (f"{C}outputs = 'b'", f"line 3: {IN_C}outputs should be {PLACES}"),
        (f"{C}retry_exit_codes = [0]", f"line 3: {IN_C}retry_exit_codes should be a list of numbers from 1 to 255"),
        (f"{C}retry_exit_codes = [true]", f"line 3: {IN_C}retry_exit_codes should be a list of numbers from 1 to 255"),
        (f"{C}description = ''", f"line 3: {IN_C}description should be a text"),
        (f"{PARAMETER}{{}}", f"{IN_P}type should be {TYPES}"),
        (f"{PARAMETER}{{type = 'json'}}", f"{IN_P}type should be {TYPES}"),
        (f"{PARAMETER}{{type = 'text'}}", f"line 4: [commands.c.parameters] p {FREE}"),
        (
            f"{PARAMETER}{{type = 'text', pattern = '('}}",
            f"{IN_P}pattern should be {RE2}: is not an expression of RE2: missing ): (",
        ),
        (f"{PARAMETER}{{type = 'text', pattern = '{'x' * 257}'}}", f"{IN_P}pattern should be {RE2}"),
        (
            f"{PARAMETER}{{type = 'text', choices = ['-a']}}",
            f"{IN_P}choices has one that begins with -, as an option does: add dash = true",
        ),
        (
            f"{PARAMETER}{{type = 'text', choices = ['a'], default = 'b'}}",
            f"{IN_P}default can't be used: it is none of the choices in POLICY_FILE: 'b'",
        ),
        (
            f"{PARAMETER}{{type = 'text_list', choices = ['a'], default = 'a'}}",
            f"{IN_P}default can't be used: it should be a list of at most 1,000 texts",
        ),
        (f"{PARAMETER}{{type = 'integer', min = 2, max = 1}}", f"{IN_P}min is above max"),
        (f"{PARAMETER}{{type = 'integer', min = 'a'}}", f"{IN_P}min should be a number"),
        (
            f"{PARAMETER}{{type = 'integer', pattern = 'a'}}",
            f"{IN_P}pattern is unknown; known here: type, min, max, dash, default",
        ),
        (
            f"{PARAMETER}{{type = 's3_uri'}}",
            f"line 4: [commands.c.parameters] p {NO_ALLOWED}",
        ),
        (
            f"{PARAMETER}{{type = 'path'}}",
            'line 4: [commands.c.parameters] p has no under: write under = "/data", the folder that it must be in',
        ),
        *(
            (f"{PARAMETER}{{type = 'path', under = '{under}'}}", f"{IN_P}under should be {UNDER}")
            for under in ("/", "data", "/a/../b", "/a//b", "//")
        ),
        (f"{PARAMETER}{{type = 'input', default = 's3://b/k'}}", f"{IN_P}default is unknown; known here: type"),
        (
            '[commands.c]\nargv = ["c"]\n[commands.c.parameters]\narguments = {type = "boolean"}',
            f"line 4: [commands.c.parameters] arguments can't be a name: {ANY_NAME}",
        ),
        (
            f"{PARAMETER}{{type = 'path', under = '/d'}}\n[commands.c.arguments]\npositional = 5",
            f"line 6: [commands.c.arguments] positional should be a list: {POSITIONAL}",
        ),
        (f"{ARGUMENT}'--a' = {{}}", f"{IN_A}type should be one of input, output, parameter"),
        (f"{ARGUMENT}'--a' = {{type = 'parameter'}}", f"line 4: [commands.c.arguments] --a {FREE}"),
        (f"{ARGUMENT}'--a' = {{type = 'input', flag = true}}", f"{IN_A}flag is unknown; known here: type, joined"),
        (
            f"{ARGUMENT}positional = [{{type = 'input', joined = true}}]",
            "line 4: [commands.c.arguments.positional] joined is unknown; known here: type",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_to_write(text: str, told: str) -> None:
    assert told in problems(text)
    assert len(problems(text)) <= 2, problems(text)


def test_a_container_sees_no_path_of_the_host() -> None:
    text = PARAMETER.replace("[commands.c]\n", "[commands.c]\nrunner = 'docker'\nimage = 'i'\n", 1)
    (told,) = problems(f"{text}{{type = 'path', under = '/data'}}")
    assert (
        told
        == "line 2: [commands.c] runner can't be docker with the path p: a container sees only the files of its run"
    )


def test_an_accepted_line_must_bind_what_has_no_default() -> None:
    text = THUMBNAILS.replace("at_most_once = false", 'accepts = ["thumb"]')
    OperatorPolicy.parse(text.encode())
    (told,) = problems(text.replace(", default = 256", ""))
    assert told.endswith("accepts has no {width} in thumb, and the parameter has no default")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = f"[defaults]\ntimeout = 0\n{C}aws = 1\noverwrite = 2\n[commands.d]\n"
    assert [told.partition(":")[0] for told in problems(text)] == ["line 2", "line 5", "line 6", "line 7"]
