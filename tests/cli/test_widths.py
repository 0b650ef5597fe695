"""Tables on terminals of every width: no word is lost, and a narrow one gets the rows one below the other."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import pytest

PROGRAM = """
from wheelsmith.cli import show
rows = [("fast-hadamard-transform", "Fast Hadamard Transform in CUDA", "/srv/recipes/" + "x" * 60), ("b", "-", "")]
show.table(("name", "summary", "file"), rows)
"""


def on_a_terminal(columns: int, **more: str) -> str:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "NO_COLOR"}}
    environment |= {"TERM": "xterm-256color"} | more
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=theirs, env=environment, timeout=60, check=True)
    os.close(theirs)
    assert done.returncode == 0
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # the other end is closed, and all is read
        pass
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


def test_a_narrow_terminal_gets_blocks_in_which_nothing_is_cut_off():
    assert on_a_terminal(40) == (
        "fast-hadamard-transform\n"
        "  summary  Fast Hadamard Transform in\n"
        "           CUDA\n"
        f"  file     /srv/recipes/{'x' * 60}\n"
        "b\n"
    )


@pytest.mark.parametrize("columns", [80, 100])
def test_a_table_that_fits_by_breaking_long_words_keeps_every_name(columns):
    shown = on_a_terminal(columns)
    assert shown.splitlines()[1].startswith("fast-hadamard-transform  Fast")
    assert "…" not in shown
    assert shown.count("x") == 60
    assert all(len(line) <= columns for line in shown.splitlines()[1:])


def test_a_wide_terminal_has_one_line_a_row():
    assert len(on_a_terminal(200).splitlines()) == 3


def test_no_colour_where_none_is_wanted():
    assert "\x1b[3" not in on_a_terminal(80, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(80, TERM="dumb")
