"""Servers of hand-made answers speak TLS; where the connection itself is at stake, plain http as well or alone."""

import pytest

from http_client import scripted_server


@pytest.fixture(params=["https", "http"])
def either_scheme(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Has every test of a module run twice: `pytestmark = pytest.mark.usefixtures("either_scheme")`."""
    scheme: str = request.param
    monkeypatch.setattr(scripted_server, "TLS", scheme == "https")
    return scheme


@pytest.fixture
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has servers speak plain http: for what is about neither TLS nor the bytes."""
    monkeypatch.setattr(scripted_server, "TLS", False)
