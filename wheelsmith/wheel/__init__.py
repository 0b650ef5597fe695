"""The finished wheel: what it holds, whether that is what was asked for, its tag, its reproducible form.

In: paths of wheels, folders or libraries. Out: reports, verdicts and sealed wheels. Fails with
`InvalidWheelError`, `ContractError` or `NotPortableError`. Uses none of NVIDIA's tools.
"""

from wheelsmith.wheel.contract import LibraryRule, Limits, Row, Verdict, check, check_paths, enforce
from wheelsmith.wheel.elf import ElfFacts, read_elf
from wheelsmith.wheel.fatbin import DeviceCode, read_fatbin
from wheelsmith.wheel.fits import Fits, LibraryFit, Machine, Reason, judge
from wheelsmith.wheel.inspect import CodeSize, LibraryReport, WheelReport, inspect_path
from wheelsmith.wheel.portable import repair
from wheelsmith.wheel.seal import seal

__all__ = [
    "CodeSize",
    "DeviceCode",
    "ElfFacts",
    "Fits",
    "LibraryFit",
    "LibraryReport",
    "LibraryRule",
    "Limits",
    "Machine",
    "Reason",
    "Row",
    "Verdict",
    "WheelReport",
    "check",
    "check_paths",
    "enforce",
    "inspect_path",
    "judge",
    "read_elf",
    "read_fatbin",
    "repair",
    "seal",
]
