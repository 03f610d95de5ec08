"""The operator's policy file: what it allows, and what is told of one that can't be used."""

import pytest

from archiver.core.locations import AllowList, Role
from archiver.core.operator_policy import MAX_POLICY_BYTES, OperatorPolicy, PolicyError

ARN = "arn:aws:iam::210987654321:role/exports"
SECTION = f'[roles."{ARN}"]'


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        OperatorPolicy.parse(text.encode() if isinstance(text, str) else text)
    return caught.value.problems


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[roles]\n", "\ufeff[roles]\r\n"])
def test_a_file_without_roles_allows_none(text: str) -> None:
    assert OperatorPolicy.parse(text.encode()) == OperatorPolicy({})


def test_each_role_has_its_sources_and_the_external_id_that_its_owner_asks_for() -> None:
    other = "arn:aws-cn:iam::123456789012:role/teams/a+b/Reader_1"
    text = f"""
        {SECTION}
        sources = ["partner-bucket/src/", "partner-photos"]
        external_id = "archiver:7f/=,.@+-_"
        [roles."{other}"]
        sources = ["partner-bucket/"]
    """

    assert OperatorPolicy.parse(text.encode()).roles == {
        ARN: Role(AllowList("", {"partner-bucket": ("src/",), "partner-photos": ("",)}), "archiver:7f/=,.@+-_"),
        other: Role(AllowList("", {"partner-bucket": ("",)})),
    }


def test_an_external_id_is_in_no_text() -> None:
    text = f'{SECTION}\nsources = ["photos"]\nexternal_id = "7f21"\n'
    assert "7f21" not in repr(OperatorPolicy.parse(text.encode()))
    assert "hush hush" not in str(problems(text.replace("7f21", "hush hush")))


NO_ROLE = 'write [roles."arn:aws:iam::123456789012:role/NAME"], with the quotes'
NO_SOURCES = 'has no sources: write sources = ["bucket/prefix/"], all that may be read with this role'
LACKS = "`photos/a` lacks the trailing `/`: it would also allow `photos/a-of-someone-else`"
NO_EXTERNAL_ID = "is no external id: write 2 to 1,224 letters, digits and _ + = , . @ : / - in quotes, or leave it out"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rolez = 1", "line 1: rolez is unknown; did you mean roles?"),
        (
            "\n[webhooks]\n",
            "line 2: webhooks is unknown; known here: roles, archives, after, callbacks, defaults, commands",
        ),
        ("a.b.c = 1", "a is unknown; known here: roles, archives, after, callbacks, defaults, commands"),
        ("roles = 1", "line 1: roles is not a section: write [roles]"),
        ("[[roles]]", "line 1: roles is not a section: write [roles]"),
        (f'[roles]\n"{ARN}" = 3', f"line 2: [roles] {ARN} is not a section: write {SECTION}"),
        (f'[[roles."{ARN}"]]', f"line 1: [roles] {ARN} is not a section: write {SECTION}"),
        (f"[roles.{ARN}]", 'line 1: an ARN needs quotes: write [roles."arn:aws:iam::123456789012:role/NAME"]'),
        ("[roles.exports]", f"line 1: [roles] exports is not the ARN of a role: {NO_ROLE}"),
        (SECTION, f"line 1: [roles] {ARN} {NO_SOURCES}"),
        (f"{SECTION}\nsources = []", f"line 2: {SECTION} sources can't be used: it contains no bucket"),
        (
            f'{SECTION}\nsources = "b"',
            f'line 2: {SECTION} sources is not a list of texts: write sources = ["bucket/prefix/"]',
        ),
        (
            f"{SECTION}\nsources = [1]",
            f'line 2: {SECTION} sources is not a list of texts: write sources = ["bucket/prefix/"]',
        ),
        (
            f'{SECTION}\nsources = ["photos/a"]',
            f"line 2: {SECTION} sources can't be used: {LACKS}",
        ),
        (
            f'{SECTION}\nsources = ["s3://photos"]',
            f"line 2: {SECTION} sources can't be used: `s3://photos` does not start with a bucket name",
        ),
        (f'{SECTION}\nsources = ["photos"]\nexternal_id = 7', f"line 3: {SECTION} external_id {NO_EXTERNAL_ID}"),
        (f'{SECTION}\nsources = ["photos"]\nexternal_id = ""', f"line 3: {SECTION} external_id {NO_EXTERNAL_ID}"),
        (
            f'{SECTION}\nsources = ["photos"]\nexternal_id = "ssm:"',
            f"line 3: {SECTION} external_id is no reference to a parameter: write ssm:/path/of/it",
        ),
        (
            f'{SECTION}\nsources = ["photos"]\nexternal_ids = "ab"',
            f"line 3: {SECTION} external_ids is unknown; did you mean external_id?",
        ),
        (
            f'roles = {{"{ARN}" = {{sources = ["photos"], role_arn = "x"}}}}',
            f"line 1: {SECTION} role_arn is unknown; known here: sources, external_id",
        ),
        ("\na = =", "is not TOML: Invalid value (at line 2, column 5)"),
        ("a = " + "[" * 100_000, "is not TOML: it is nested too deeply"),
        (b"# \n# caf\xe9", "line 2: is not UTF-8: save the file as UTF-8"),
        (b"#" * (MAX_POLICY_BYTES + 1), "has more than 1,048,576 bytes: name the policy file itself"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_what_to_write(text: str | bytes, told: str) -> None:
    assert problems(text) == [told]


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "*",
        "arn:aws:iam::210987654321:role/*",
        "arn:aws:iam::*:role/exports",
        "arn:aws:iam::210987654321:role/",
        "arn:aws:iam::210987654321:role//exports",
        "arn:aws:iam::210987654321:role/exports/",
        "arn:aws:iam::210987654321:user/exports",
        "arn:aws:iam::210987654321:role/" + "a" * 65,
        "arn:aws:iam::210987654321:role/" + "a/" * 1020 + "b",
        "arn:aws:iam::21098765432:role/exports",
        "arn:aws:iam::２１０９８７６５４３２１:role/exports",
        "arn:aws:sts::210987654321:assumed-role/exports/session",
        "arn:aws:iam::210987654321:role/exports\\n",
        "arn:aws:iam::210987654321:role/exports ",
        "\\u0007\\u202e",
    ],
)
def test_only_the_exact_arn_of_one_role_is_one(arn: str) -> None:
    (told,) = problems(f'[roles."{arn}"]\nsources = ["photos"]\n')
    assert told.endswith(NO_ROLE)
    assert told.isprintable()
    assert len(told) < 300


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = f'x = 1\n{SECTION}\nsource = ["a"]\nexternal_id = ""\n[roles.exports]\n[wishes]\n'

    assert [told.partition(":")[0] for told in problems(text)] == [
        "line 1",
        "line 6",
        "line 3",
        "line 2",
        "line 4",
        "line 5",
    ]


def test_a_file_of_nothing_but_mistakes_is_told_in_linear_time() -> None:
    text = "".join(f"k{number} = 1\n" for number in range(20_000))

    assert len(problems(text)) == 20_000


def test_a_line_that_only_looks_like_a_section_is_none() -> None:
    (problem,) = problems(f'{SECTION}\nsources = [\n["partner-bucket/"],\n]\n')
    assert "line 2" in problem
