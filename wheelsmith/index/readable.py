"""Whether clients can read what a wheel says about itself: one that they cannot read breaks them for a whole project.

In: the bytes of METADATA, or an opened wheel. Out: METADATA's fields, or nothing. Fails with `InvalidWheelError` on
text that is not UTF-8, on fields that are broken, doubled, or hidden behind a line that is no field, on sizes no wheel
needs, and on scripts that an installer would refuse or put elsewhere. Rules: core metadata 1.0 to 2.5, the binary
distribution format, and what pip 26 and uv 0.13 do with each of these.
"""

from __future__ import annotations

import email
import re
from typing import TYPE_CHECKING

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from wheelsmith.errors import InvalidWheelError
from wheelsmith.pep508 import requirement

if TYPE_CHECKING:
    from wheelsmith.wheel.archive import Archive

#: Bytes of METADATA: the largest ones known have some hundred kilobytes of description.
MAX_METADATA = 4 << 20
#: A wheel above the first figure may unpack to no more than so many times its own size.
MAX_RATIO = (1 << 30, 200)
_REMEDY = "Build the wheel again, or fix it with `wheel unpack` and `wheel pack`; nothing was published."
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_KNOWN = re.compile(r"[12]\.\d")
_EXTRA = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_WHEEL_VERSION = re.compile(r"1(?:\.\d+)*")
_SCRIPT = re.compile(r"[^\s/\\=\[][^/\\=\[]*")
_REFERENCE = re.compile(r"[\w.]+\s*:\s*[\w.]+\s*(?:\[.*\])?")


def read_fields(metadata: bytes, filename: str) -> RawMetadata:
    """Return the fields of METADATA, after making sure that pip and uv see the same ones.

    Raises:
        InvalidWheelError: they could not read it, or would read less than is written there.
    """
    text = _text(metadata, "METADATA", filename)
    if len(metadata) > MAX_METADATA:
        raise _broken(filename, f"a METADATA of {len(metadata)} bytes, and {MAX_METADATA} are allowed")
    message = email.message_from_string(text)
    if message.defects or text.startswith("\ufeff"):
        raise _broken(filename, "a METADATA with a line that is no field, behind which fields are lost")
    if bad := next((key for key, value in message.items() if _CONTROLS.search(f"{key}{value}")), None):
        raise _broken(filename, f"a control character in {bad!r} in METADATA")
    raw, unparsed = parse_email(metadata)
    if unparsed_known := sorted(set(unparsed) & _READ):
        raise _broken(filename, f"an unreadable or doubled {unparsed_known[0]!r} in METADATA")
    if not _KNOWN.fullmatch(raw.get("metadata_version", "")):
        raise _broken(filename, f"the Metadata-Version {raw.get('metadata_version')!r}, which nobody knows")
    for extra in raw.get("provides_extra", []):
        if not _EXTRA.fullmatch(extra):
            raise _broken(filename, f"an unreadable Provides-Extra: {extra!r}")
    try:
        SpecifierSet(raw.get("requires_python", ""))
    except InvalidSpecifier as error:
        raise _broken(filename, f"an unreadable Requires-Python: {error}") from error
    for line in raw.get("requires_dist", []):
        try:
            requirement(line)
        except InvalidRequirement as error:
            raise _broken(filename, f"an unreadable Requires-Dist: {error}") from error
    return raw


def check_readable(archive: Archive) -> None:
    """Hold sizes, WHEEL, RECORD and entry points of a wheel against what installers do with them.

    Raises:
        InvalidWheelError: one of them would fail, or put something where it does not belong.
    """
    name = archive.path.name
    unpacked, packed = sum(member.file_size for member in archive.members), archive.path.stat().st_size
    if unpacked > MAX_RATIO[0] and unpacked > MAX_RATIO[1] * packed:
        raise _broken(name, f"{packed} bytes that unpack to {unpacked}, more than {MAX_RATIO[1]} times as many")
    sizes = {member.filename: member.file_size for member in archive.members}
    if sizes[f"{archive.dist_info}/METADATA"] > MAX_METADATA:
        raise _broken(name, f"a METADATA of {sizes[f'{archive.dist_info}/METADATA']} bytes, too many")
    wheel = email.message_from_string(_text(archive.text("WHEEL"), "WHEEL", name))
    versions = wheel.get_all("Wheel-Version", [])
    if len(versions) != 1 or not _WHEEL_VERSION.fullmatch(str(versions[0]).strip()):
        raise _broken(name, f"the Wheel-Version {', '.join(map(str, versions)) or 'nowhere'} in WHEEL, not 1.0")
    _text(archive.text("RECORD"), "RECORD", name)
    if f"{archive.dist_info}/entry_points.txt" in sizes:
        _check_scripts(_text(archive.text("entry_points.txt"), "entry_points.txt", name), name)


_READ = {
    *("metadata-version", "name", "version", "requires-python", "requires-dist", "provides-extra", "dynamic"),
    *("summary", "description", "description-content-type", "platform", "keywords", "classifiers", "classifier"),
    *("author", "author-email", "maintainer", "maintainer-email", "license", "license-expression", "license-file"),
    *("home-page", "download-url", "project-url", "requires-external", "import-name", "import-namespace"),
}


def _check_scripts(text: str, filename: str) -> None:
    import configparser

    parser = configparser.RawConfigParser(delimiters=("=",), strict=False, allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise _broken(filename, f"an unreadable entry_points.txt ({type(error).__name__})") from error
    for section in ("console_scripts", "gui_scripts"):
        for script, reference in parser.items(section) if parser.has_section(section) else ():
            if not _SCRIPT.fullmatch(script) or script in {".", ".."} or not _REFERENCE.fullmatch(reference or ""):
                raise _broken(
                    filename, f"a script that installers refuse: {script[:60]!r} = {(reference or '')[:60]!r}"
                )


def _text(data: bytes, what: str, filename: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _broken(filename, f"a {what} that is not UTF-8 (byte {error.start})") from error


def _broken(filename: str, what: str) -> InvalidWheelError:
    return InvalidWheelError(f"{filename} has {what}.", _REMEDY)
