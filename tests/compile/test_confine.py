"""Confinement on machines that have more mounts than ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wheelsmith.compile import confine
from wheelsmith.compile.sandbox import isolation_here


def test_mounts_are_found_in_whatever_order_the_kernel_tells_them():
    """The machine's own /tmp and what lies on it are not ours; a mount may be told before the one that it lies on."""
    rows = [
        line.split()
        for line in (
            "90 40 0:9 / /tmp/usr/a\\040b",
            "40 30 0:8 / /tmp/usr",
            "30 20 0:7 / /tmp",
            "21 20 0:6 / /tmp/of-others",
            "20 10 0:5 / /tmp",
            "10 1 0:4 / /",
        )
    ]
    assert confine._points_below_scaffold(rows) == ["/tmp/usr/a b", "/tmp/usr", "/tmp"]


@pytest.mark.e2e
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.skipif(not isolation_here().confined, reason="no namespaces here")
def test_what_the_machine_has_mounted_below_tmp_does_not_matter(tmp_path: Path):
    """A container that somebody makes below /tmp (mmdebstrap, mock) once made all builds unconfined."""
    (tmp_path / "mounted").mkdir()
    say = "from wheelsmith.compile.sandbox import isolation_here; print(isolation_here().confined)"
    script = f"mount -t tmpfs none {tmp_path}/mounted; exec {sys.executable} -c '{say}'"
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", script], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
