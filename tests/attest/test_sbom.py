"""The SBOM in a wheel: valid CycloneDX, the same for the same content, and read back with suspicion."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from wheelsmith.attest.sbom import LicenceFile, Material, count_components, make_sbom, package_url, spdx_id
from wheelsmith.errors import InvalidWheelError

BSD = """Redistribution and use in source and binary forms, with or without modification, are permitted.
* Redistributions in binary   form must reproduce the above notice. {}"""
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


def test_licences_of_what_was_compiled_in_are_told():
    boost, mine = LicenceFile("licenses/source/boost/LICENSE_1_0.txt", "BSL-1.0"), LicenceFile("licenses/COPYING")
    llvm = LicenceFile("licenses/trees/cccl/LICENSE", "Apache-2.0 WITH LLVM-exception")
    one = Material(
        "source", "cutlass", "v4", licences=(LicenceFile("licenses/trees/cutlass/LICENSE.txt", "BSD-3-Clause"),)
    )
    more = Material("source", "demo", "1.0", licences=(mine, boost, llvm))
    data = make_sbom("demo", "1.0", [one, more])
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    first, second = json.loads(data)["components"]
    assert first["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert second["licenses"] == [
        {"license": {"name": "Apache-2.0 WITH LLVM-exception"}},
        {"license": {"id": "BSL-1.0"}},
        {"license": {"name": "as in licenses/COPYING"}},
    ]
    assert {"name": "wheelsmith:licence-file", "value": boost.path} in second["properties"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            BSD.format("Neither the name of the copyright holder may be used to endorse or promote products"),
            "BSD-3-Clause",
        ),
        (BSD.format(""), "BSD-2-Clause"),
        ("Boost Software License - Version 1.0 - August 17th, 2003", "BSL-1.0"),
        ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        (
            "Apache License\n Version 2.0, January 2004 ... LLVM Exceptions to the Apache 2.0 License",
            "Apache-2.0 WITH LLVM-exception",
        ),
        ("Apache License Version 2.0, January 2004\n\n" + BSD.format(""), ""),  # two: not ours to choose
        ("All rights reserved.", ""),
    ],
)
def test_a_licence_is_recognised_by_its_words_alone(text, expected):
    assert spdx_id(text.encode()) == expected
