"""Whoever is asked whether a wheel runs on a machine gives one answer: the command, advice, the contract, the index's
page, an image's Dockerfile and the program that an image starts with."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

import wheelsmith
from tests.support.cubins import REAL, TRAPPING, cubin
from tests.support.shared_object import shared_object
from tests.support.wheel_makers import ARCH_SPECIFIC, LTOIR, PTX, SASS, build_wheel, entry, region
from wheelsmith.api import judging
from wheelsmith.compat.contract import check
from wheelsmith.container import preflight_main
from wheelsmith.container.preflight import make_preflight
from wheelsmith.contract import Alternative, Choice, Limits, choices_to_bytes
from wheelsmith.errors import ContractError
from wheelsmith.gpu.arch import Arch, ArchSet
from wheelsmith.gpu.drivers import Driver
from wheelsmith.gpu.machine import Found
from wheelsmith.gpu.select import parse_driver
from wheelsmith.index.layout import Layout
from wheelsmith.index.web.choosing import choose, wheels_of
from wheelsmith.wheel.inspect import inspect_path

CHOICE = Choice("choice", "gpu", "x.py", (Alternative("choice/fa3.so", "9.0"), Alternative("choice/fa2.so")))


def so(*regions: bytes, **more) -> bytes:
    return shared_object(b"".join(regions), **more)


def unit(*numbers: int) -> bytes:
    return region(*(entry(SASS, number) for number in numbers))


EVERYWHERE = unit(75, 86, 90, 120)
NEW = region(*(entry(SASS, n, payload=cubin({"k": REAL}, str(n), toolkit="13.0")) for n in (75, 86, 90, 120)))
WHEELS = {
    "native": {"a.so": so(EVERYWHERE)},
    "jit": {"a.so": so(region(entry(SASS, 75), entry(PTX, 75, isa=(8, 8))))},
    "missing": {"a.so": so(EVERYWHERE, unit(86, 90))},
    "hopper": {"a.so": so(region(entry(SASS, 90, ARCH_SPECIFIC)))},
    "host": {"a.so": so()},
    "unread": {"a.so": so(EVERYWHERE, region(entry(SASS, 86), entry(SASS, 120, payload=b"nothing known")))},
    "closed": {"a.so": so(EVERYWHERE), "b.7z": b"7z\xbc\xaf\x27\x1c" + bytes(40)},
    "damaged": {"a.so": so(EVERYWHERE), "b.dat": EVERYWHERE[:-1]},
    "relabelled": {"a.so": so(region(entry(SASS, 86), entry(SASS, 120, payload=cubin({"k": REAL}, "86"))))},
    "trapping": {"a.so": so(region(entry(SASS, 86), entry(SASS, 120, payload=cubin({"k": TRAPPING}, "120"))))},
    "lto": {"a.so": so(region(entry(LTOIR, 86)))},
    "beside": {"a.so": so(region(entry(SASS, 86), entry(SASS, 120), entry(LTOIR, 75)))},
    "newer": {"a.so": so(NEW)},
    "mixed": {"a.so": so(NEW, EVERYWHERE)},
    "cubins": {"k86.cubin": cubin({"k": REAL}, "86"), "k90.cubin": cubin({"k": REAL}, "90")},
    "choice": {"fa2.so": so(unit(75, 86, 120)), "fa3.so": so(unit(90))},
}
GPUS = ("T4", "A40", "H100", "GH200", "RTX 5090")
DRIVERS = ("570.124.06", "580.65.06")
#: What `fits` must say without a driver, by GPU: so that the doors do not agree on nonsense.
EXPECTED = {
    "native": "yes yes yes no yes",  # GH200: its machines have Arm processors, and the tag says x86_64
    "jit": "yes jit jit no jit",
    "missing": "yes yes yes no yes",
    "hopper": "other other yes no other",
    "host": "host host host no host",
    "unread": "yes yes yes no unknown",
    "closed": "unknown unknown unknown no unknown",
    "damaged": "unknown unknown unknown no unknown",
    "relabelled": "no yes no no no",
    "trapping": "no yes no no no",
    "lto": "unknown unknown unknown no unknown",
    "beside": "no yes no no yes",
    "newer": "yes yes yes no yes",
    "mixed": "yes yes yes no yes",
    "cubins": "no yes yes no no",
    "choice": "yes yes yes no yes",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("doors")
    made = {}
    for name, files in WHEELS.items():
        contents = {f"{name}/{path}": data for path, data in files.items()}
        if name == "choice":
            contents["choice-1.0.dist-info/wheelsmith.json"] = choices_to_bytes((CHOICE,))
        made[name] = build_wheel(folder / f"{name}-1.0-py3-none-manylinux_2_17_x86_64.whl", contents)
    wheelsmith.publish(list(made.values()), index=folder / "dist")
    return made


@pytest.mark.e2e
@pytest.mark.parametrize("name", WHEELS)
def test_every_door_gives_the_answer_of_the_command(made, name, monkeypatch, tmp_path):
    wheel = made[name]
    report = inspect_path(wheel)
    page = wheels_of(Layout(wheel.parent / "dist"), name)
    monkeypatch.setattr(judging, "best_published", lambda *_, **__: wheel)
    with zipfile.ZipFile(io.BytesIO(make_preflight([report]))) as program:
        reports = program.read("wheelsmith/reports.json")
    told = []
    for gpu in GPUS:
        for driver in (None, *DRIVERS):
            fits = wheelsmith.fits(wheel, gpu=gpu, driver=driver, store=tmp_path)
            answer = fits.answer_on(gpu)
            (arch,) = (arch for _, arch in fits.machine.gpus)
            parsed = parse_driver(driver) if driver else None
            told += [answer] if driver is None else []

            advice = wheelsmith.advise(name, gpu=gpu, driver=driver, store=tmp_path)
            assert advice.answer == {"fits": "install", "does not fit": "build"}.get(fits.verdict, "not judged")
            assert advice.fits.to_dict() == fits.to_dict()
            if gpu != "GH200":  # a page is asked for a compute capability, the rest for what it holds
                shown = choose(page, arch, parsed, frozenset(), "https://x/simple/")
                assert [item.fit.answer for item in shown] == ([] if answer in {"no", "other"} else [answer]), driver
            if parsed is not None:
                assert started(monkeypatch, reports, gpu, arch, parsed) == (0 if answer == "host" else fits.exit_code)
        fits = wheelsmith.fits(wheel, gpu=gpu, store=tmp_path)
        assert rendered(wheel, name, gpu, tmp_path) == (fits.answer_on(gpu) in {"yes", "host"}), gpu
        if gpu != "GH200":
            verdict = check(report, ArchSet.parse(str(arch)), (), Limits(choice=report.choices))
            # Units with nothing for a GPU are a note to `fits` (the package may never call them), not to a contract.
            whole = fits.answer_on(gpu) == "yes" and not any(
                item.absent for item in fits.libraries if item.answer != "other"
            )
            assert (not verdict.violations) == whole, verdict.violations
    assert " ".join(told) == EXPECTED[name]


def started(monkeypatch: pytest.MonkeyPatch, reports: bytes, gpu: str, arch: Arch, driver: Driver) -> int:
    """What the program of an image exits with."""
    monkeypatch.setattr(preflight_main, "_machine", lambda: Found(((gpu, arch),), driver, "a test"))
    return preflight_main.main([], reports, {})


def rendered(wheel: Path, name: str, gpu: str, store: Path) -> bool:
    """Whether a Dockerfile is written for that GPU."""
    try:
        wheelsmith.image_render(
            [name], index_url="https://x.example/simple/", gpu=gpu, index=wheel.parent / "dist", store=store
        )
    except ContractError:
        return False
    return True
