"""The pages for people as a screen reader, a keyboard and weak eyes meet them."""

import asyncio
import hashlib
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.index_wheels import make_wheel
from tests.support.running import running
from wheelsmith.compat.summary import Code, Library, Units, WheelSummary
from wheelsmith.gpu.arch import Arch
from wheelsmith.index.manage import yank
from wheelsmith.index.publish import publish
from wheelsmith.index.web.site import render

if TYPE_CHECKING:
    from tests.support.browser import Tab

STYLE = Path(__file__).parents[2] / "wheelsmith/report/base.css"


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_ratio_is_the_one_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_a_contrast_of_seven_and_outlines_of_three(scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light if scheme == "light" else dark))
    assert set(colours) == {"ground", "ink", "soft", "line", "panel", "link", "good", "warn"}
    for text in ("ink", "soft", "link", "good", "warn"):
        for behind in ("ground", "panel"):
            assert contrast(colours[text], colours[behind]) >= 7, (text, behind)
    for line in ("soft", "link"):  # borders of fields, outline of what has the focus
        for behind in ("ground", "panel"):
            assert contrast(colours[line], colours[behind]) >= 3


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_what_chromium_tells_a_screen_reader(tmp_path: Path) -> None:
    pytest.importorskip("websockets", reason="websockets is not installed")
    wheels = [make_wheel(tmp_path / "in", "leaf", version) for version in ("1.0", "2.0")]
    gpu = make_wheel(tmp_path / "in", "gpu", "1.0", tag="cp311-cp311-manylinux_2_34_x86_64")
    publish([*wheels, gpu], tmp_path / "dist")
    _remember_gpu_code(tmp_path / "dist", gpu)
    yank(tmp_path / "dist", "leaf==1.0", reason="broken")
    render(tmp_path / "dist")
    with running(tmp_path / "dist") as server:
        asyncio.run(_visit(server.url, tmp_path))


def _remember_gpu_code(dist: Path, wheel: Path) -> None:
    """What is known of a wheel with machine code for two GPUs, where the index keeps it."""
    code = (Code("sass", Arch(8, 6), size=1000), Code("sass", Arch(12, 0), size=2000))
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    library = Library("arm/_C.so", (Units(1, code),), glibc="2.34", cudart=13)
    summary = WheelSummary(wheel.name, sha256, "gpu", "1.0", (), (library,))
    path = dist / f"records/cards/gpu/{wheel.name}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"summary": summary.to_dict(), "sboms": []}))


async def _visit(url: str, folder: Path) -> None:
    from tests.support.browser import Node, Tab, browsing

    async def look(tab: Tab, path: str) -> list[Node]:
        await tab.open(url + path)
        assert await tab.run("document.documentElement.lang") == "en"
        nodes = await tab.tree()
        assert nodes[0].role == "RootWebArea"
        assert nodes[0].name
        roles = [node.role for node in nodes]
        assert roles.count("main") == 1
        outside = [node for node in nodes[1:] if not {"main", "navigation"} & {node.role, *node.parents}]
        assert [(node.role, node.name) for node in outside if node.role not in {"StaticText", "InlineTextBox"}] == [
            ("link", "Skip to the content")
        ]
        levels = [node.level or 0 for node in nodes if node.role == "heading"]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        named = {"link", "button", "textbox", "combobox", "heading", "navigation", "region", "form", "status", "table"}
        named |= {"columnheader", "rowheader", "article"}
        assert [node.role for node in nodes if node.role in named and not node.name.strip()] == []
        return nodes

    def names(nodes: list[Node], role: str) -> list[str]:
        return [node.name for node in nodes if node.role == role]

    async with browsing(folder / "profile") as tab:
        home = await look(tab, "")
        assert names(home, "link") == ["Skip to the content", "simple/", "gpu", "leaf"]  # of one publication: by name
        assert names(home, "searchbox")[0].startswith("Search a name")
        await tab.run("q.value = 'lea'; q.dispatchEvent(new Event('input'))")
        assert names(await tab.tree(), "link")[2:] == ["leaf"]
        assert await tab.run("found.textContent") == "1 of the 2 listed here match."
        leaf = await look(tab, "project/leaf/?gpu=H100")
        assert names(leaf, "heading") == [
            "leaf 2.0",
            "My GPU and my driver",
            "By GPU",
            "All wheels",
            "leaf-2.0-py3-none-any.whl",
            "leaf-1.0-py3-none-any.whl",
        ]
        assert names(leaf, "combobox") == ["GPU name or compute capability"]
        assert names(leaf, "textbox") == ["Driver as nvidia-smi shows it; may be empty"]
        assert names(leaf, "status") == ["Answer"]
        assert names(leaf, "region") == ["Install commands", "Any GPU, 1", "Install commands for any GPU"]
        assert names(leaf, "button") == ["Find the wheel", "Copy the commands", "Copy the commands"]
        await tab.run("document.querySelector('.copy').click()")
        await asyncio.sleep(0.3)
        assert await tab.run("document.querySelector('.copy').textContent") in {"Copied", "Selected"}
        gpu = await look(tab, "project/gpu/?gpu=nonsense")
        groups = [name for name in names(gpu, "region") if not name.startswith("Install")]
        assert any("workstation and consumer Ampere 8.6" in name for name in groups)
        assert [name for name in names(gpu, "heading") if name in groups] == groups
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        for width in (320, 390, 1200):
            await tab.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=True
            )
            assert not await tab.run(wide), width
        await tab.call("Emulation.clearDeviceMetricsOverride")
        assert await tab.run("document.querySelector('[name=gpu]').getAttribute('aria-describedby')") == "answer"
        await _tab_through(tab, url)
        for scheme in ("light", "dark"):
            await tab.prefer(scheme)
            shown = await tab.run("getComputedStyle(document.body).backgroundColor")
            assert shown == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 20, 23)"}[scheme]
            await tab.picture(folder / f"{scheme}.png")
            assert (folder / f"{scheme}.png").read_bytes().startswith(b"\x89PNG")


async def _tab_through(tab: "Tab", url: str) -> None:
    """The keyboard reaches everything in reading order, sees where it is, and gets out again."""
    await tab.open(f"{url}project/leaf/")
    seen = []
    for _ in range(9):
        await tab.press_tab()
        script = "[document.activeElement.innerText || document.activeElement.name, %s]"
        style = "getComputedStyle(document.activeElement)"
        visible = f"{style}.outlineStyle == 'solid' && parseFloat({style}.outlineWidth) >= 2"
        inside = "document.activeElement.getBoundingClientRect().left >= 0"
        seen.append(await tab.run(script % f"{visible} && {inside}"))
    assert [name.partition("\n")[0] for name, _ in seen] == [
        "Skip to the content",
        "All projects",
        "gpu",
        "driver",
        "Find the wheel",
        "Copy",
        "pip install --index-url " + f"{url}simple/ leaf==2.0",
        "leaf-2.0-py3-none-any.whl",
        "leaf-1.0-py3-none-any.whl",
    ]
    assert all(visible for _, visible in seen)
    await tab.open(f"{url}project/leaf/")
    await tab.press_tab()
    await tab.run("document.activeElement.click()")
    assert await tab.run("document.activeElement.id") == "main"
