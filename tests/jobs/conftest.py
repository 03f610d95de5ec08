"""Jobs on fakes: retries cost no time."""

import pytest

from archiver.jobs import receipt
from archiver.stages import retry, upload


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between attempts, and the minimum number of attempts."""
    monkeypatch.setattr(retry, "BACKOFF_CAP", 0.0)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "UPLOAD_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(upload, "PART_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(receipt, "WRITE_RETRY_SECONDS", 0.0)
