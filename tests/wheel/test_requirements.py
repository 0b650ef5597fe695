"""Requirements of a wheel: pinned to what it was made for, replaced as its recipe says."""

from __future__ import annotations

import pytest

from wheelsmith.errors import ContractError
from wheelsmith.wheel.requirements import RequirementEdits, with_requirements

METADATA = b"""Metadata-Version: 2.4
Name: toy
Version: 1.0
Requires-Dist: torch==2.14.0
Requires-Dist: torchvision==0.29.0
Requires-Dist: nvidia-cutlass-dsl[cu13]==4.8.0; platform_system == "Linux"
Requires-Dist: gone>=1
Requires-Dist: numpy

Requires-Dist: gone in the description stays
"""


def edited(**edits: object) -> list[str]:
    made = with_requirements(METADATA, RequirementEdits(**edits))  # type: ignore[arg-type]
    assert made.endswith(b"\n\nRequires-Dist: gone in the description stays\n")
    head = made.partition(b"\n\n")[0].decode()
    return [line.removeprefix("Requires-Dist: ") for line in head.splitlines() if line.startswith("Requires-Dist")]


UNCHANGED = [
    "torch==2.14.0",
    "torchvision==0.29.0",
    'nvidia-cutlass-dsl[cu13]==4.8.0; platform_system == "Linux"',
    "gone>=1",
    "numpy",
]


def test_a_replacement_keeps_version_and_marker_and_a_removal_the_other_lines() -> None:
    replaced = (("nvidia-cutlass-dsl[cu13]", "nvidia-cutlass-dsl"), ("Gone", ""))
    wanted = [*UNCHANGED[:2], 'nvidia-cutlass-dsl==4.8.0; platform_system == "Linux"', "numpy"]
    assert edited(replaced=replaced) == wanted


def test_a_replacement_with_a_version_has_its_own() -> None:
    assert edited(replaced=(("gone", "other[x]>=3"),))[3] == "other[x]>=3"


def test_what_the_project_replaced_itself_is_left() -> None:
    assert edited(replaced=(("numpy[mkl]", "numpy"),)) == UNCHANGED


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(ContractError, match=r"does not require scipy, which its recipe replaces with scipy\[x\]"):
        edited(replaced=(("scipy", "scipy[x]"),))
    assert edited(replaced=(("scipy", ""),)) == UNCHANGED


@pytest.mark.parametrize(
    ("pin", "torch", "companion"),
    [
        ("2.14.0", "torch==2.14.0", "torchvision==0.29.0"),
        ("2.13.0", "torch==2.13.0", "torchvision"),
        (">=2.11.0,<=2.14.0", "torch<=2.14.0,>=2.11.0", "torchvision"),
    ],
)
def test_an_exact_pin_gives_way_to_what_was_proved(pin: str, torch: str, companion: str) -> None:
    assert edited(pins={"torch": pin})[:2] == [torch, companion]


def test_a_pin_becomes_a_requirement_where_none_was_and_that_is_asked_for() -> None:
    pins = {"torch": "2.11.0", "cupy": "14.2"}
    assert edited(pins=pins, missing=("torch", "cupy")) == [
        "torch==2.11.0",
        "torchvision",
        *UNCHANGED[2:],
        "cupy==14.2",
    ]
    bare = b"Name: toy\r\nVersion: 1.0\r\n"
    assert with_requirements(bare, RequirementEdits({"torch": "2.11.0"}, missing=("torch",))) == (
        b"Name: toy\r\nVersion: 1.0\r\nRequires-Dist: torch==2.11.0\r\n"
    )
