"""Our own wheel and sdist, made twice from the commit in fresh directories and compared byte for byte.

    python .ci/release.py DIRECTORY

Uncommitted changes are not in them. Ends with 1, and leaves nothing, if the two differ. Times in them are the commit's.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(target: Path) -> int:
    """Make, compare, keep; the exit code."""
    time = subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True).strip()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        made = [_make(Path(place), time) for place in (one, other)]
        digests = [{path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} for files in made]
        if digests[0] != digests[1]:
            print(f"the two builds differ:\n{digests[0]}\n{digests[1]}", file=sys.stderr)
            return 1
        target.mkdir(parents=True, exist_ok=True)
        for path in made[0]:
            shutil.copy2(path, target / path.name)
    for name, digest in digests[0].items():
        print(f"{digest}  {name}")
    return 0


def _make(place: Path, time: str) -> list[Path]:
    source, output = place / "source", place / "dist"
    source.mkdir()
    with subprocess.Popen(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", source], stdin=archive.stdout, check=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": time}
    command = [sys.executable, "-m", "build", "--outdir", output, source]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    for path in output.glob("*.tar.gz"):
        _settle(path, int(time))
    return sorted(output.iterdir())


def _settle(sdist: Path, time: int) -> None:
    """The same archive without times and owners of this moment: setuptools writes these into sdists."""
    plain = io.BytesIO()
    with tarfile.open(sdist) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    sdist.write_bytes(gzip.compress(plain.getvalue(), mtime=time))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
