"""The running wheelsmith as a wheel, so that exactly this version runs in a container: installed or in a checkout.

In: nothing but what is imported. Out: a file name and bytes; equal code gives equal bytes. Format: PyPA "Binary
distribution format" 1.0. Fails with `EngineError` where wheelsmith is not installed with its metadata.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from wheelsmith.distribution import NAME
from wheelsmith.errors import EngineError
from wheelsmith.recipe.loader import shipped_directory

_WHEEL = "Wheel-Version: 1.0\nGenerator: wheelsmith\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EARLIEST = (1980, 1, 1, 0, 0, 0)


def own_wheel() -> tuple[str, bytes]:
    """File name and content.

    Raises:
        EngineError: the package has no metadata (it was copied, not installed).
    """
    try:
        distribution = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineError(
            "wheelsmith is not installed here, so it cannot be put into a container.",
            "Install the checkout: `pip install .` in it.",
        ) from error
    stem = f"{NAME.replace('-', '_')}-{distribution.version}"
    info = f"{stem}.dist-info"
    members = dict(_modules())
    # A checkout that pip installed as editable may show its egg-info first, where the same text is PKG-INFO.
    members[f"{info}/METADATA"] = (
        distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    ).encode()
    members[f"{info}/WHEEL"] = _WHEEL.encode()
    members[f"{info}/entry_points.txt"] = (distribution.read_text("entry_points.txt") or "").encode()
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(members.items())]
    members[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name in sorted(members):
            member = zipfile.ZipInfo(name, _EARLIEST)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            zipped.writestr(member, members[name])
    return f"{stem}-py3-none-any.whl", file.getvalue()


def _modules() -> Iterator[tuple[str, bytes]]:
    """Paths in the wheel and bytes: the package, and the recipes, which a checkout keeps at its top level."""
    package = Path(__file__).parents[1]
    for folder, place in ((package, "wheelsmith"), (shipped_directory(), "wheelsmith/shipped_recipes")):
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{place}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
