"""DSNs: the seed's grammar of a region and credentials, and what is told of what does not fit it."""

import pytest

from archiver.core.dsn import Credentials, Dsn, DsnError, parse_dsn

ROLE = "arn:aws:iam::123456789012:role/tools/runner"


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        ("iam:", Credentials("chain")),
        ("env:", Credentials("environment")),
        ("", Credentials("environment")),
        ("anon:", Credentials("anonymous")),
        ("work", Credentials("profile", "work")),
        ("/etc/aws/keys:work", Credentials("profile", "work", "/etc/aws/keys")),
        (r"C:\Users\me\keys:work", Credentials("profile", "work", r"C:\Users\me\keys")),
        (f"sts:{ROLE}", Credentials("role", ROLE)),
        ("static:AKIA:a/b+c=", Credentials("static", key_id="AKIA", secret="a/b+c=")),
        ("static:ASIA:key:token:==", Credentials("static", key_id="ASIA", secret="key", token="token:==")),
    ],
)
def test_every_kind_of_credentials_of_the_seed_and_its_successors_is_read(text: str, credentials: Credentials) -> None:
    assert parse_dsn(f"region=us-east-1 credentials={text}") == Dsn("us-east-1", credentials)
    assert parse_dsn(f"  credentials={text}\tregion=us-gov-west-1 ") == Dsn("us-gov-west-1", credentials)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "region is missing"),
        ("region=us-east-1", "credentials is missing"),
        ("credentials=iam:", "region is missing"),
        ("region=us-east-1 region=us-east-1 credentials=iam:", "region is given twice"),
        ("region=us-east-1 credentials=iam: profile=x", "key=value pairs of region and credentials"),
        ("us-east-1 iam:", "key=value pairs"),
        ("region= credentials=iam:", "like eu-west-1"),
        ("region={AWS_REGION} credentials=iam:", "like eu-west-1"),
        ("region=us-east-1 credentials=iam:role", "stands alone"),
        ("region=us-east-1 credentials=env:x", "stands alone"),
        ("region=us-east-1 credentials=anon:x", "stands alone"),
        ("region=us-east-1 credentials=sts:", "ARN of a role"),
        ("region=us-east-1 credentials=sts:runner", "ARN of a role"),
        ("region=us-east-1 credentials=static:AKIA", "ID:KEY"),
        ("region=us-east-1 credentials=static::key", "ID:KEY"),
        ("region=us-east-1 credentials=/etc/aws:", "PROFILE or PATH:PROFILE"),
        ("region=us-east-1 credentials=:work", "PROFILE or PATH:PROFILE"),
    ],
)
def test_what_is_no_dsn_is_told_with_what_to_write_and_nothing_of_it_is_repeated(text: str, told: str) -> None:
    with pytest.raises(DsnError, match=told) as caught:
        parse_dsn(text.replace("key", "s3cr3t"))

    assert "s3cr3t" not in str(caught.value)


def test_keys_of_a_dsn_do_not_show() -> None:
    shown = repr(parse_dsn("region=us-east-1 credentials=static:AKIA:s3cr3t:t0ken"))

    assert "s3cr3t" not in shown and "t0ken" not in shown and "AKIA" not in shown
