"""What is tested is tested by TLS. The exceptions are listed, with their reasons, and the list is whole."""

import re
from pathlib import Path

from certificates import shared_trust
from faults.proxy import FaultProxy
from faults.scenario_config import ScenarioConfig

ROOT = Path(__file__).parents[2]
PLAIN = re.compile(
    r"""f"http://[^"]*\{                     # the address of a server that was started
    | \w\.plain\b                          # the emulator's plain port
    | open_scenario\(.*tls=False
    | Origin\(tls=False[^)]*port=(?!\d)    # our client, at a server that was started
    | "plain_http" | "TLS",\sFalse
    | "https",\s"http"                     # one after the other
    """,
    re.VERBOSE,
)
LISTED = re.compile(r"^\| `((?:tests|bench)/[\w/.]+)` \| [^|]+ \|$", re.MULTILINE)


def test_every_file_that_speaks_plain_http_is_listed_with_its_reason() -> None:
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    found = [str(file.relative_to(ROOT)) for file in files if file != Path(__file__) and PLAIN.search(file.read_text())]

    _, _, after = (ROOT / "docs/testing.md").read_text().partition("### Tests that use plain HTTP")
    assert sorted(LISTED.findall(after.partition("\n## ")[0])) == sorted(found)


def test_a_worker_on_a_stage_speaks_tls_where_nothing_else_is_said() -> None:
    assert ScenarioConfig().tls
    with FaultProxy(("127.0.0.1", 1), serving=shared_trust().server_context) as proxy:
        assert proxy.listen("worker").startswith("https://")
