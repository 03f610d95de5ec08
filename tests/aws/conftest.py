"""Servers of hand-made answers speak TLS; where the connection itself is at stake, plain http as well."""

import pytest
from aws import canned


@pytest.fixture(params=["https", "http"])
def either_scheme(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Has every test of a module run twice: `pytestmark = pytest.mark.usefixtures("either_scheme")`."""
    scheme: str = request.param
    monkeypatch.setattr(canned, "TLS", scheme == "https")
    return scheme
