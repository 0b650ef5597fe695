from html.parser import HTMLParser

from wheelsmith.binary.elf import BinaryFacts
from wheelsmith.binary.fatbin import DeviceCode
from wheelsmith.gpu.arch import Arch
from wheelsmith.report.wheel_page import wheel_page
from wheelsmith.wheel.report import LibraryReport, WheelReport

EVIL = "<script>alert(1)</script>"


class Outline(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def page(path="v/_C.so"):
    code = (
        DeviceCode("sass", Arch(8, 6), None, 2_000_000, "", 0, 0, ("k",)),
        DeviceCode("sass", Arch(12, 0), None, 1500, "zstd", 1, 0, ()),
        DeviceCode("ptx", Arch(8, 0), "8.8", 1_000_000, "lz4", 0, 0, None),
    )
    facts = BinaryFacts((EVIL,), (), "2.29", None, code, undefined=("_ZN3c105ErrorE",))
    library = LibraryReport(path, 4_000_000, facts, 1_500_000, (900_000, 700, 500_000))
    return wheel_page(WheelReport("wheel", "v.whl", "00", 2_000_000, "v", "1", ("py3-none-any",), (), (library,)))


def test_it_is_one_sound_page_without_script_or_anything_from_elsewhere():
    outline = Outline(page())
    assert outline.open == []
    names = {tag for tag, _ in outline.tags}
    assert {"script", "link", "img", "iframe"}.isdisjoint(names)
    assert not any(key in {"src", "href"} or key.startswith("on") for _, attrs in outline.tags for key in attrs)
    assert "prefers-color-scheme: dark" in page()


def test_tables_have_captions_and_headers():
    tags = Outline(page()).tags
    count = [tag for tag, _ in tags].count
    assert count("table") == count("caption") == 2
    scopes = {attrs["scope"] for tag, attrs in tags if tag == "th"}
    assert scopes == {"col", "row"}
    assert {"lang": "en"} in [attrs for tag, attrs in tags if tag == "html"]


def test_it_says_what_an_arch_costs_and_what_is_empty():
    assert "1 library, 1 of them with GPU code" in page()
    words = Outline(page()).words
    assert "0.9 MB" in words  # 8.6, in the wheel
    assert "0 + 1 empty" in words
    assert "PTX 8.8, from CUDA 12.9" in words


def test_text_of_the_wheel_never_becomes_markup():
    assert EVIL in Outline(page(EVIL)).words
    assert EVIL not in page(EVIL)
