"""AWS_PROFILES_CREDENTIALS: read whole, or refused with the number of each profile, never with what is in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.core.profiles import Profile, find_profile_problems, parse_profiles

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TWO = f"one;AKIDONE;{SECRET};eu-west-1#two;AKIDTWO;{SECRET}2;us-east-1"


def test_every_profile_has_its_own_region() -> None:
    """The seed's start script wrote each region into [default]: the last one was everybody's."""
    profiles = parse_profiles(TWO)

    assert {name: profile.variables["AWS_REGION"] for name, profile in profiles.items()} == {
        "one": "eu-west-1",
        "two": "us-east-1",
    }
    assert profiles["two"].variables == {
        "AWS_ACCESS_KEY_ID": "AKIDTWO",
        "AWS_SECRET_ACCESS_KEY": f"{SECRET}2",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f" one ; AKIDONE ; {SECRET} ; eu-west-1 ", id="spaces around values"),
        pytest.param(f"one;AKIDONE;{SECRET};eu-west-1#", id="a # at the end"),
        pytest.param(f"one;AKIDONE;{SECRET};eu-west-1\n", id="a line feed at the end"),
    ],
)
def test_white_space_and_a_last_separator_do_not_count(text: str) -> None:
    assert parse_profiles(text) == {"one": Profile("AKIDONE", SECRET, "eu-west-1")}


def test_a_name_may_have_spaces() -> None:
    assert list(parse_profiles(f"my profile;AKID;{SECRET};eu-west-1")) == ["my profile"]


def test_separators_in_values_are_escaped() -> None:
    profiles = parse_profiles(r"a\;b;AKID;x\#y\\z;eu-west-1")

    assert list(profiles) == ["a;b"]
    assert profiles["a;b"].secret == r"x#y\z"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name;key;hush", "profile 1 has 3 values instead of name;key;secret;region"),
        (
            "name;key;hu;sh;eu-west-1",
            r"profile 1 has 5 values instead of name;key;secret;region: write \; and \# for these characters in a",
        ),
        (
            r"name;key;hu\sh;eu-west-1",
            r"profile 1 has a \ before another character than ; # and \: write \\ for a \ in",
        ),
        ("name;key;hush;eu-west-1\\", "profile 1 has a \\ before another character than"),
        ("name;;hush;eu-west-1", "profile 1 has no key: name;key;secret;region are all needed"),
        (";key;hush;eu-west-1", "profile 1 has no name"),
        ("name;key; ;eu-west-1", "profile 1 has no secret"),
        ("name;key;hush;", "profile 1 has no region"),
        ("name;key;hush;Ireland", "profile 1 has a region that is none: write one like eu-west-1"),
        ("name;key;hu sh;eu-west-1", "profile 1 has a space, or a character that is not ASCII, in its secret"),
        ("name;kéy;hush;eu-west-1", "profile 1 has a space, or a character that is not ASCII, in its key"),
        ("na\x1bme;key;hush;eu-west-1", "profile 1 has a control character in its name"),
        (f"{TWO}#one;key;hush;eu-west-1", "profile 3 has the name of profile 1: give each its own"),
        (f"{TWO}##name;key;hush;eu-west-1", "profile 3 has 1 values instead of"),
        ("#", "profile 1 has 1 values instead of"),
    ],
)
def test_a_profile_that_can_not_be_used_is_refused_by_its_number(text: str, told: str) -> None:
    (problem,) = find_profile_problems(text)

    assert problem.startswith(told)
    with pytest.raises(ValueError, match="profile"):
        parse_profiles(text)


def test_all_problems_are_told_at_once() -> None:
    assert [problem[:9] for problem in find_profile_problems(f"a;b#{TWO}#c;d")] == ["profile 1", "profile 4"]


values = st.text("aZ9-/+ ;#\\\x00é", min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(values, values, values, values), min_size=1, max_size=4))
def test_nothing_of_the_text_is_ever_shown(profiles: list[tuple[str, ...]]) -> None:
    """Each problem is one of a few sentences, with numbers."""
    marked = [tuple(f"hush{value}" for value in profile) for profile in profiles]
    told = "\n".join(find_profile_problems("#".join(";".join(profile) for profile in marked)))

    assert "hush" not in told
    assert "hush" not in repr(Profile("hush", "hush", "hush"))
