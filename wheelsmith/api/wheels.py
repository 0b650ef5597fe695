"""What is in a wheel, whether it is what it says, and whether it will run there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.api.defaults import PathLike, book, chosen_index_url, disk_full, open_store, optional_path
from wheelsmith.events import Listener, ignore

if TYPE_CHECKING:
    from wheelsmith.attest.verify import WheelVerification
    from wheelsmith.compat.advise import Advice
    from wheelsmith.compat.judge import Fits
    from wheelsmith.wheel.report import WheelReport


def inspect(path: PathLike) -> WheelReport:
    """What a wheel, a directory or a library holds: GPU code by arch, needed libraries, symbol versions;
    and what it chooses among when it runs, as it says itself, else as its recipe or the
    table of packages does.

    Raises:
        InvalidWheelError: it cannot be read or contradicts itself.
    """
    from wheelsmith.api.judging import all_choices
    from wheelsmith.wheel.inspect import inspect_path

    with disk_full():
        found = inspect_path(Path(path))
    return found if found.choices else replace(found, choices=all_choices(found.name, book(())))


def fits(
    path: PathLike,
    *,
    gpu: str | None = None,
    driver: str | None = None,
    torch: str | None = None,
    glibc: str | None = None,
    glibcxx: str | None = None,
    base: str | None = None,
    dependencies: bool = False,
    python: str | None = None,
    store: PathLike | None = None,
    index_url: str | None = None,
    offline: bool = False,
    listener: Listener = ignore,
) -> Fits:
    """Whether a wheel (or folder, or library) will run on a machine, library by library, and the rule that decides.

    Args:
        path: what to judge.
        gpu: GPU names or compute capabilities, such as `RTX 5090,A40` or `12.0`; default: this machine's, with its
            driver, its C library and the torch of this interpreter.
        driver: version of the driver, such as `570.124.06` or `570.x`; None with `gpu`: PTX is not judged.
        torch: version of the torch there, such as `2.10.0` or `2.11.0+cu128`; None with `gpu`: not judged.
        glibc: version of the C library there, such as `2.31`; None with `gpu`: not judged.
        glibcxx: newest GLIBCXX symbol version of the C++ library there, such as `3.4.30`; None with `gpu`: not judged.
        base: an image that it is to run in, such as `ubuntu:24.04`: says `glibc`, `glibcxx` and CXXABI.
        dependencies: judge as well what the wheel requires, directly or not: as installed for this interpreter, else
            from the index.
        python: `major.minor` for which the markers of requirements are read and wheels are chosen; then what is
            installed here does not count. Default: this interpreter's.
        store: directory of the store, for what torch versions export and for wheels from the index.
        index_url: package index for torch wheels whose exports are not known yet, and for requirements.
        offline: fetch nothing.
        listener: told of downloads.

    Raises:
        InvalidWheelError: the wheel cannot be read.
        UnknownGpuError, TargetError: no such GPU, driver version, or no GPU in this machine.
        NetworkError, SourceError, OfflineError: what `torch` exports cannot be found out.
    """
    from wheelsmith.api.judging import (
        MachineWords,
        all_choices,
        find_machine,
        judge_closure,
        needs_torch_symbols,
    )
    from wheelsmith.compat.choices import made_at_run_time
    from wheelsmith.compat.judge import judge
    from wheelsmith.compat.summarise import summarise
    from wheelsmith.sources.published import PackageIndex
    from wheelsmith.wheel.inspect import inspect_path

    with disk_full():
        index = PackageIndex(chosen_index_url(index_url), open_store(store), listener, offline)
        summary = summarise(inspect_path(Path(path)))
        words = MachineWords(gpu, driver, torch, glibc, glibcxx, base)
        machine = find_machine(words, index, torch_symbols=needs_torch_symbols(summary))
        choices = all_choices(summary.name, book(()))
        found = judge(summary, machine, choices, made_at_run_time(summary.name))
        return judge_closure(found, summary, index, python) if dependencies else found


def advise(
    requirement: str,
    *,
    gpu: str | None = None,
    driver: str | None = None,
    python: str | None = None,
    dependencies: bool = False,
    recipes: Sequence[PathLike] = (),
    store: PathLike | None = None,
    index_url: str | None = None,
    offline: bool = False,
    listener: Listener = ignore,
) -> Advice:
    """Whether a package needs a source build on a machine, or its published wheel is enough.

    The wheel that pip would install is fetched into the store (once) and judged as `fits` does.

    Args:
        requirement: PEP 508, such as `vllm==0.15.1`; without a version the newest.
        gpu: see `fits`.
        driver: see `fits`.
        python: `major.minor`; default: the running interpreter's.
        dependencies: see `fits`.
        recipes: directories whose recipes go before the shipped ones.
        store: directory of the store.
        index_url: package index that publishes the wheels; default: the clients' own configuration.
        offline: fetch nothing.
        listener: told of downloads.

    Raises:
        NetworkError, SourceError, OfflineError: the index does not answer, or has no such project.
        InvalidWheelError, UnknownGpuError, TargetError, UsageError: as `fits`.
    """
    from wheelsmith.api.judging import AdviceWords, MachineWords, give_advice
    from wheelsmith.sources.published import PackageIndex

    with disk_full():
        index = PackageIndex(chosen_index_url(index_url), open_store(store), listener, offline)
        words = AdviceWords(requirement, MachineWords(gpu, driver), python, dependencies)
        return give_advice(words, index, book(recipes))


def verify(wheel: PathLike, *, provenance: PathLike | None = None, key: PathLike | None = None) -> WheelVerification:
    """Check a wheel against its RECORD, its SBOM and its provenance, and the provenance against a public key.

    Args:
        wheel: the path of a wheel that wheelsmith built.
        provenance: its provenance; default: the file beside it.
        key: Ed25519 public key (PEM) that must have signed the provenance; default: no signature is asked for.

    Raises:
        VerificationError: something does not belong together, or the signature is missing or wrong.
        InvalidWheelError: the wheel cannot be read.
    """
    from wheelsmith.attest.verify import verify_wheel

    return verify_wheel(Path(wheel), provenance=optional_path(provenance), key=optional_path(key))[0]


def wheel_page(report: WheelReport) -> str:
    """A page about a wheel: one HTML file that loads nothing from elsewhere."""
    from wheelsmith.report.wheel_page import wheel_page as page

    return page(report)
