"""URLs of webhooks, the hosts that requests may name, and signatures."""

import base64

import pytest

from archiver.core.operator_policy import OperatorPolicy, PolicyError
from archiver.core.webhooks import NO_CALLBACKS, CallbackRules, WebhookUrl, decode_secret, parse_url, webhook_headers
from archiver.errors import Rejected

RULES = CallbackRules(frozenset({"hooks.example.com", "xn--mller-kva.example"}))


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://hooks.example.com", WebhookUrl(True, "hooks.example.com", 443, "/")),
        ("HTTPS://Hooks.Example.com:443/A?b=%20c", WebhookUrl(True, "hooks.example.com", 443, "/A?b=%20c")),
        ("https://hooks.example.com?x", WebhookUrl(True, "hooks.example.com", 443, "/?x")),
        ("http://127.0.0.1:8080/in", WebhookUrl(False, "127.0.0.1", 8080, "/in")),
        ("https://[2001:db8::1]:8443/", WebhookUrl(True, "2001:db8::1", 8443, "/")),
    ],
)
def test_a_url_has_a_host_a_port_and_a_target(text: str, url: WebhookUrl) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hooks.example.com",
        "ftp://hooks.example.com/",
        "https:///path",
        "https://user@hooks.example.com/",
        "https://user:pass@hooks.example.com/",
        "https://hooks.example.com@169.254.169.254/",
        "https://hooks.example.com\\@169.254.169.254/",
        "https://hooks.example.com#@169.254.169.254/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com/ HTTP/1.1",
        "https://hooks.example.com/\r\nHost: other",
        "https://hooks.example.com\t/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:65536/",
        "https://hooks.example.com:44３/",
        "https://①⑥⑨.254.169.254/",
        "https://hooks。example.com/",
        "https://hooks.example.com/ü",
        "https://hooks.example.com/" + "x" * 2048,
    ],
)
def test_what_is_no_url_or_could_be_read_as_another_one_is_none(text: str) -> None:
    assert parse_url(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://user@hooks.example.com/",
        "nothing",
    ],
)
def test_a_callback_is_https_on_its_own_port(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        RULES.check(text)
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    "host",
    [
        "hooks.example.com.",
        "a.hooks.example.com",
        "example.com",
        "169.254.169.254",
        "[::1]",
        "2852039166",
        "0xa9fea9fe",
    ],
)
def test_a_callback_goes_to_hosts_that_are_listed_and_to_no_others(host: str) -> None:
    assert RULES.check("https://HOOKS.example.com/x").host == "hooks.example.com"
    with pytest.raises(Rejected) as caught:
        RULES.check(f"https://{host}/x")
    assert caught.value.code == "option_not_allowed"


def test_without_a_list_no_request_may_name_a_callback() -> None:
    with pytest.raises(Rejected, match=r"\[callbacks\] of POLICY_FILE") as caught:
        NO_CALLBACKS.check("https://hooks.example.com/")
    assert caught.value.code == "option_not_allowed"


def test_the_policy_file_lists_hosts_in_any_case() -> None:
    policy = OperatorPolicy.parse(b'[callbacks]\nhosts = ["Hooks.Example.com", "intern"]\n')

    assert policy.callbacks.hosts == {"hooks.example.com", "intern"}
    assert OperatorPolicy.parse(b"").callbacks == NO_CALLBACKS


@pytest.mark.parametrize(
    "hosts",
    [
        '"hooks.example.com"',
        '["*.example.com"]',
        '["169.254.169.254"]',
        '["https://a.b"]',
        '["a.b:443"]',
        '["::1"]',
        "[1]",
        '["0x7f.1"]',
    ],
)
def test_addresses_wildcards_and_urls_are_no_hosts(hosts: str) -> None:
    with pytest.raises(PolicyError, match=r"line 2: \[callbacks\] hosts should be a list of names of hosts"):
        OperatorPolicy.parse(f"[callbacks]\nhosts = {hosts}\n".encode())


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks' own libraries."""
    key = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    assert webhook_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert "webhook-signature" not in webhook_headers("id", 1, b"", None)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hunter2",
        "whsec_",
        "whsec_!!!",
        f"whsec_{base64.b64encode(b'x' * 23).decode()}",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ],
)
def test_a_secret_has_its_prefix_and_enough_bytes(secret: str) -> None:
    with pytest.raises(ValueError, match=r"no prefix|no base64|wrong length"):
        decode_secret(secret)
