"""Make the program that an image starts with: wheelsmith's own judgement, and what the wheels hold, in one zip file.

In: the reports of the wheels that the image installs. Out: the bytes of a zipapp (PEP 441) that runs on the standard
library of Python 3.11; equal reports give equal bytes. It is made of the modules that `wheelsmith fits` runs, so that
both say the same, with the user's own tables of facts over ours; of `packaging` it takes the module that compares
versions. Fails with `FactsError` where such a table is wrong.
"""

from __future__ import annotations

import importlib.resources
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from wheelsmith.compat.choices import choices_of
from wheelsmith.compat.summarise import summarise
from wheelsmith.gpu.tables import own_tables

if TYPE_CHECKING:
    from wheelsmith.wheel.report import WheelReport

_MODULES = (
    ("wheelsmith", ("contract.py", "errors.py")),
    ("wheelsmith.container", ("nvml.py", "preflight_main.py")),
    (
        "wheelsmith.compat",
        ("choices.py", "distributions.py", "judge.py", "model.py", "rules.py", "summary.py", "units.py"),
    ),
    ("packaging", ("_structures.py", "version.py")),
)
#: What reads names and checks tables; the preflight asks the machine and takes our tables as they are.
_NOT_OF_GPU = ("names.py", "schema.py", "select.py")
_START = """\
import sys
from importlib.resources import files

from wheelsmith.container.preflight_main import main

sys.exit(main(sys.argv[1:], files("wheelsmith").joinpath("reports.json").read_bytes()))
"""
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip file knows no earlier time


def make_preflight(reports: Sequence[WheelReport]) -> bytes:
    """The program for images that hold these wheels. Start it with `python3 preflight.pyz COMMAND…`."""
    wheels = [
        {
            "summary": summarise(report).to_dict(),
            "choices": [choice.to_dict() for choice in choices_of(report.name)],
        }
        for report in reports
    ]
    data = json.dumps(wheels, separators=(",", ":"), sort_keys=True)
    members = dict(_members()) | {"__main__.py": _START.encode(), "wheelsmith/reports.json": data.encode()}
    file = io.BytesIO(b"#!/usr/bin/env python3\n")
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as zipped:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            zipped.writestr(info, members[name])
    return file.getvalue()


def _members() -> Iterator[tuple[str, bytes]]:
    """Paths and bytes. The packages' own `__init__.py` import everything: empty ones take their place."""
    for package, modules in _MODULES:
        folder = package.replace(".", "/")
        yield f"{folder}/__init__.py", b""
        for module in modules:
            yield f"{folder}/{module}", importlib.resources.files(package).joinpath(module).read_bytes()
    for item in importlib.resources.files("wheelsmith.gpu").iterdir():
        if _belongs(item):
            yield f"wheelsmith/gpu/{item.name}", item.read_bytes()
    yield "wheelsmith/gpu/own/__init__.py", b""
    for name, data in own_tables().items():
        yield f"wheelsmith/gpu/own/{name}", data


def _belongs(item: Traversable) -> bool:
    return item.is_file() and item.name.endswith((".py", ".toml")) and item.name not in _NOT_OF_GPU
