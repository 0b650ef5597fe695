"""The page of a failed build."""

import re

import wheelsmith
from wheelsmith.cli.main import main

LOG = """\
[1/1] Building CXX object a.o
FAILED: [code=1] a.o
/usr/bin/g++ -DX='<a,b>' -c /build/csrc/a.cpp -o a.o
/build/csrc/a.cpp:3:10: fatal error: nccl.h: No such file or directory
    3 | #include <nccl.h>
ninja: build stopped: subcommand failed.
"""


def page(log: str, **more: str) -> str:
    return wheelsmith.failure_page(wheelsmith.explain(log), "toy 1.0 does not compile", log="/logs/x<y>.log", **more)


def test_it_shows_the_lines_marks_the_error_and_says_what_to_do():
    html = page(LOG)
    assert "<mark>/build/csrc/a.cpp:3:10: fatal error: nccl.h: No such file or directory</mark>" in html
    assert "#include &lt;nccl.h&gt;" in html
    assert '<p class="lead">NCCL' in html
    assert "<dt>What to do</dt>" in html
    assert "<dt>Unit</dt><dd><code>a.o</code></dd>" in html
    assert "<dt>Repeat it</dt><dd><code>/usr/bin/g++ -DX=&#x27;&lt;a,b&gt;&#x27;" in html
    assert "<code>/logs/x&lt;y&gt;.log</code>" in html


def test_it_loads_nothing_and_runs_nothing():
    html = page(LOG.replace("nccl.h", "</code><script>alert(1)</script>"))
    assert "<script" not in html
    assert not re.search(r"(?:src|srcset)=|@import|url\(", html)
    assert "default-src 'none'" in html


def test_the_script_of_a_build_goes_before_the_bare_command():
    assert "<dt>Repeat it</dt><dd><code>sh /w/repeat.sh</code></dd>" in (html := page(LOG, repeat="sh /w/repeat.sh"))
    assert "<dt>Command</dt>" in html
    assert "<dt>Command</dt>" not in page(LOG)


def test_what_is_not_known_is_said():
    html = page('x.cu(7): error: identifier "thred" is undefined\n')
    assert '<p class="lead">The cause is not known.</p>' in html
    assert "No failure found." in page("fine\n\n")


def test_the_command_line_writes_it(tmp_path, capsys):
    (tmp_path / "log").write_text(LOG)
    assert main(["explain", str(tmp_path / "log"), "--html", str(tmp_path / "page.html")]) == 0
    assert "nccl.h" in capsys.readouterr().out
    assert "<h1>Why log ends in failure</h1>" in (tmp_path / "page.html").read_text()
