"""The pages, byte for byte, and file names that need encoding."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin

from hypothesis import assume, given
from hypothesis import strategies as st

from wheelsmith.index import pages
from wheelsmith.index.entry import Entry
from wheelsmith.index.record import ProjectRecord, from_bytes, to_bytes

ENTRY = Entry(
    filename="cuvec-6.0.1+cu130-cp312-cp312-manylinux_2_28_x86_64.whl",
    project="cuvec",
    version="6.0.1+cu130",
    sha256="a" * 64,
    size=1234,
    metadata_sha256="b" * 64,
    requires_python=">=3.9,<4",
    upload_time=datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC),
)

HTML = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="pypi:repository-version" content="1.4">
<title>Links for cuvec</title>
</head>
<body>
<h1>Links for cuvec</h1>
<a href="../../cuvec-6.0.1%2Bcu130-cp312-cp312-manylinux_2_28_x86_64.whl#sha256={"a" * 64}" \
data-requires-python="&gt;=3.9,&lt;4" data-core-metadata="sha256={"b" * 64}">\
cuvec-6.0.1+cu130-cp312-cp312-manylinux_2_28_x86_64.whl</a><br>
</body>
</html>
"""

JSON = (
    '{"meta":{"api-version":"1.4"},"name":"cuvec","versions":["6.0.1+cu130"],"files":[{'
    '"filename":"cuvec-6.0.1+cu130-cp312-cp312-manylinux_2_28_x86_64.whl",'
    '"url":"../../cuvec-6.0.1%2Bcu130-cp312-cp312-manylinux_2_28_x86_64.whl",'
    f'"hashes":{{"sha256":"{"a" * 64}"}},"core-metadata":{{"sha256":"{"b" * 64}"}},"size":1234,'
    '"upload-time":"2026-11-23T12:00:00.000005Z","requires-python":">=3.9,<4"}]}\n'
)


def test_project_page_bytes() -> None:
    assert pages.project_html("cuvec", [ENTRY]).decode() == HTML
    assert pages.project_json("cuvec", [ENTRY]).decode() == JSON


def test_root_page_bytes() -> None:
    assert b'<h1>Simple index</h1>\n<a href="a/">a</a><br>\n<a href="b-c/">b-c</a><br>\n</body>' in pages.root_html(
        ["a", "b-c"]
    )
    assert pages.root_json(["a"]) == b'{"meta":{"api-version":"1.4"},"projects":[{"name":"a"}]}\n'


def test_project_status_yank_and_provenance_are_on_both_pages() -> None:
    entry = replace(ENTRY, yanked="too <slow>", provenance_sha256="c" * 64, stored_at="files/ab/a+b.whl")
    html = pages.project_html("cuvec", [entry], "../", status="deprecated", status_reason='use "x"').decode()
    page = json.loads(pages.project_json("cuvec", [entry], "../", status="deprecated", status_reason='use "x"'))

    assert '<meta name="pypi:project-status" content="deprecated">\n' in html
    assert '<meta name="pypi:project-status-reason" content="use &quot;x&quot;">\n' in html
    assert '<a href="../files/ab/a%2Bb.whl#sha256=' in html
    assert ' data-provenance="../files/ab/a%2Bb.whl.provenance" data-yanked="too &lt;slow&gt;">' in html
    assert page["project-status"] == {"status": "deprecated", "reason": 'use "x"'}
    (file,) = page["files"]
    assert (file["provenance"], file["yanked"]) == ("../files/ab/a%2Bb.whl.provenance", "too <slow>")


def test_record_round_trip() -> None:
    record = ProjectRecord("cuvec", (ENTRY,), "archived", "why", {"old.whl": "d" * 64})
    assert from_bytes(ProjectRecord, to_bytes(record), "here") == record


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))


@given(filename=st.text(min_size=1).filter(lambda name: "/" not in name), reason=st.text())
def test_any_text_survives_the_pages(filename: str, reason: str) -> None:
    filename = filename.encode(errors="ignore").decode() or "x"
    assume(filename not in {".", ".."})  # in a URL they are folders, and no wheel is called so
    entry = Entry(filename, "p", "1", "a" * 64, 1, "b" * 64, None, ENTRY.upload_time, reason)
    parser = _Links()
    parser.feed(pages.project_html("p", [entry]).decode(errors="surrogatepass"))
    (link,) = parser.found
    url = urldefrag(urljoin("https://host/x/simple/p/", link["href"])).url
    assert unquote(url) == f"https://host/x/{filename}"
    (file,) = json.loads(pages.project_json("p", [entry]))["files"]
    assert urljoin("https://host/x/simple/p/", file["url"]) == url
    assert file["yanked"] == (reason or True)
