"""Confinement on machines that have more mounts than ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wheelsmith.compile.sandbox import isolation_here

pytestmark = pytest.mark.e2e


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.skipif(not isolation_here().confined, reason="no namespaces here")
def test_what_the_machine_has_mounted_below_tmp_does_not_matter(tmp_path: Path):
    """A container that somebody makes below /tmp (mmdebstrap, mock) once made all builds unconfined."""
    (tmp_path / "mounted").mkdir()
    say = "from wheelsmith.compile.sandbox import isolation_here; print(isolation_here().confined)"
    script = f"mount -t tmpfs none {tmp_path}/mounted; exec {sys.executable} -c '{say}'"
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
