"""The SBOM in a wheel: valid CycloneDX, the same for the same content, and read back with suspicion."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from wheelsmith.attest.sbom import Material, count_components, make_sbom, package_url
from wheelsmith.errors import InvalidWheelError

COMMIT, DIGEST, OTHER = "1" * 40, "2" * 64, "3" * 64
MATERIALS = (
    Material("compiler", "g++", "g++ (Debian 12.2.0-14) 12.2.0", "pkg:generic/gcc@12.2.0"),
    Material("requirement", "ninja", "1.13.0", "pkg:pypi/ninja@1.13.0", (OTHER, DIGEST)),
    Material("source", "cutlass", "v4.2.1", f"pkg:github/nvidia/cutlass@{COMMIT}", (), COMMIT, "https://x.invalid/c"),
    Material("toolkit", "cuda-nvcc", "13.0.88", "pkg:generic/nvidia/cuda-nvcc@13.0.88"),
)


def test_it_is_strictly_valid_cyclonedx_and_lists_everything():
    data = make_sbom("demo", "1.0+cu130", MATERIALS)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    document = json.loads(data)
    assert document["metadata"]["component"]["purl"] == "pkg:pypi/demo@1.0%2Bcu130"
    assert [(c["name"], c["scope"]) for c in document["components"]] == [
        ("cutlass", "required"),
        ("ninja", "excluded"),
        ("cuda-nvcc", "required"),
        ("g++", "excluded"),
    ]
    cutlass, ninja, *_ = document["components"]
    assert cutlass["pedigree"] == {"commits": [{"uid": COMMIT}]}
    assert [item["content"] for item in ninja["hashes"]] == [DIGEST, OTHER]
    assert count_components(data, "x") == 4


def test_equal_content_gives_equal_bytes_and_other_content_another_serial_number():
    first = make_sbom("demo", "1.0", MATERIALS)
    assert make_sbom("demo", "1.0", MATERIALS[::-1]) == first
    assert "timestamp" not in first.decode()
    serial = json.loads(first)["serialNumber"]
    assert serial.startswith("urn:uuid:")
    assert json.loads(make_sbom("demo", "1.0", MATERIALS[1:]))["serialNumber"] != serial


def test_package_urls_are_escaped():
    assert package_url("generic", "a b/c@d", "1+2", checksum="sha256:00", vcs_url="") == (
        "pkg:generic/a%20b/c%40d@1%2B2?checksum=sha256:00"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b'{"bomFormat": "SPDX", "components": []}',
        b'{"bomFormat": "CycloneDX"}',
        b'{"bomFormat": "CycloneDX", "components": [1]}',
        b'{"bomFormat": "CycloneDX", "components": [{"name": ""}]}',
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(InvalidWheelError, match="the sbom is no CycloneDX SBOM"):
        count_components(data, "the sbom")
