"""Tiny wheels for these tests: pure Python, the same bytes for the same arguments."""

import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    tag: str = "py3-none-any",
    metadata: str = "",
    says: str | None = None,
    code: str = "",
    tag_inside: str | None = None,
    more: Mapping[str, bytes] | None = None,
    purelib: str = "Root-Is-Purelib: true",
) -> Path:
    """Write `folder/name-version-tag.whl` with a module `name` of `code`.

    `says` is METADATA's Name, `tag_inside` the Tag in WHEEL, `more` further members (bytes by name),
    `purelib` a line of WHEEL.
    """
    stem = f"{name}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    members: dict[str, str | bytes] = {
        f"{name}.py": code,
        **(more or {}),
        f"{stem}.dist-info/METADATA": (f"Metadata-Version: 2.1\nName: {says or name}\nVersion: {version}\n{metadata}"),
        f"{stem}.dist-info/WHEEL": (f"Wheel-Version: 1.0\nGenerator: test\n{purelib}\nTag: {tag_inside or tag}\n"),
    }
    members[f"{stem}.dist-info/RECORD"] = "".join(f"{member},,\n" for member in members)
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(zipfile.ZipInfo(member), text)
    return path
