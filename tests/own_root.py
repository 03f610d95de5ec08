"""Runs programs with a root directory of their own: everything is where it was, and further folders are there."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

# Every folder of the machine's root is mounted in the new one; links are copied.
_SCRIPT = """
set -eu
root=$1 folder=$2 place=$PWD; shift 2
for name in /*; do
  if [ -L "$name" ]; then cp -P "$name" "$root/"
  elif [ -d "$name" ]; then mkdir -p "$root$name"; mount --rbind "$name" "$root$name"; fi
done
mkdir -p "$root$folder"
exec chroot "$root" bash -c 'cd "$0" && exec "$@"' "$place" "$@"
"""


def with_own_root(root: Path, folder: str, command: Sequence[str]) -> list[str]:
    """
    Return *command* in the root directory *root*, an empty folder, with *folder* in it, say `/data`. Needs user
    namespaces: the test is skipped without, but not in CI.
    """
    if subprocess.run(["unshare", "--user", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        assert "CI" not in os.environ, "needs unshare (Debian's util-linux), and user namespaces allowed"
        pytest.skip("needs unshare, and user namespaces allowed")
    return [
        *["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"],
        _SCRIPT,
        "root",
        str(root),
        folder,
        *command,
    ]
