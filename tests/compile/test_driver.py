"""The program in the room, when the one that waits for it dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from wheelsmith.compile import driver
from wheelsmith.compile.sandbox import Isolation, Room

# In the place of the project's Python: starts another program, and one that wants to be forgotten, as daemons do.
BACKEND = """#!INTERPRETER
import os, subprocess, time
child = subprocess.Popen(["sleep", "60"], process_group=0)
daemon = subprocess.run(["sh", "-c", "setsid sleep 60 > /dev/null 2>&1 & echo $!"], capture_output=True, text=True)
open("{}", "w").write(f"{os.getpid()} {child.pid} {daemon.stdout}")
time.sleep(60)
"""


def test_where_there_is_no_process_namespace_the_build_dies_with_wheelsmith_all_the_same(tmp_path):
    python, pids = tmp_path / "python", tmp_path / "pids"
    python.write_text(BACKEND.replace("INTERPRETER", sys.executable).replace("{}", str(pids), 1))
    python.chmod(0o755)
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "b"\n')
    request = {"source": str(tmp_path), "out": str(tmp_path), "python": str(python), "environment": dict(os.environ)}
    (tmp_path / "request").write_text(json.dumps(request | {"config_settings": {}, "check": False}))
    room = Room(tmp_path, Path(sys.prefix), tmp_path, Isolation(False))
    program = [sys.executable, "-IS", driver.__file__, f"{tmp_path}/request", f"{tmp_path}/result"]
    command = room.command([*program, *room.libraries], paths=[(Path(driver.__file__), False)])
    start = "import subprocess, sys; subprocess.run(sys.argv[1:], start_new_session=True)"
    wheelsmith = subprocess.Popen([sys.executable, "-c", start, *command])
    while not (pids.is_file() and len(pids.read_text().split()) == 3):
        assert wheelsmith.poll() is None
        time.sleep(0.01)
    wheelsmith.send_signal(signal.SIGKILL)
    wheelsmith.wait()
    for pid in pids.read_text().split():
        process = Path("/proc", pid, "cmdline")
        while process.exists() and process.read_bytes():  # of a zombie it is empty
            time.sleep(0.01)
