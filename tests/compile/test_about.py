"""What `doctor` says for a report of a fault: versions and system, and of settings the names alone."""

from __future__ import annotations

import platform

import wheelsmith
from wheelsmith.compile.about import about


def test_versions_and_system_are_told_and_no_value_of_a_setting():
    secrets = {
        "WHEELSMITH_CACHE_KEY": "s3cret",
        "PIP_INDEX_URL": "https://me:s3cret@host.invalid/simple",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "EDITOR": "vi",
        "PATH": "",
    }
    found = {check.name: check for check in about(secrets)}
    assert found["wheelsmith"].found.startswith(f"{wheelsmith.__version__} on Python {platform.python_version()}; uv ")
    assert found["variables set"].found == "AWS_SECRET_ACCESS_KEY, PIP_INDEX_URL, WHEELSMITH_CACHE_KEY"
    assert found["container engines"].found == "none"
    assert "processors" in found["system"].found
    assert "s3cret" not in repr(found)
    assert all(check.ok is None for check in found.values())
