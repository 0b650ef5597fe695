"""Chromium on a page, through the DevTools protocol: what a screen reader is given, and what the keyboard reaches."""

import asyncio
import base64
import contextlib
import json
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websockets

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@dataclass(frozen=True)
class Node:
    """A node of the accessibility tree, in the order in which it is read."""

    role: str
    name: str
    level: int | None
    depth: int
    parents: tuple[str, ...]


class Tab:
    """One page in a browser."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        await self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(await self._socket.recv())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    async def open(self, url: str) -> None:
        """Go to a URL and wait until it is there."""
        await self.call("Page.enable")
        await self.call("Page.navigate", url=url)
        while await self.run("document.readyState") != "complete" or await self.run("location.href") != url:
            await asyncio.sleep(0.05)

    async def run(self, script: str) -> Any:
        """Return the value of a script."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return result["result"].get("value")

    async def press_tab(self) -> None:
        """Press the tabulator key."""
        for kind in ("rawKeyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    async def prefer(self, scheme: str) -> None:
        """Prefer `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def picture(self, path: Path) -> None:
        """Write a picture of the whole page."""
        result = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(result["data"]))

    async def tree(self) -> list[Node]:
        """What a screen reader is given."""
        raw = (await self.call("Accessibility.getFullAXTree"))["nodes"]
        by_id = {node["nodeId"]: node for node in raw}
        found: list[Node] = []

        def visit(node: dict[str, Any], parents: tuple[str, ...]) -> None:
            role = node.get("role", {}).get("value", "")
            if not node.get("ignored"):
                level = next(
                    (one["value"]["value"] for one in node.get("properties", ()) if one["name"] == "level"), None
                )
                found.append(Node(role, node.get("name", {}).get("value", ""), level, len(parents), parents))
                parents = (*parents, role)
            for child in node.get("childIds", ()):
                if child in by_id:
                    visit(by_id[child], parents)

        visit(next(node for node in raw if "parentId" not in node), ())
        return found


@contextlib.asynccontextmanager
async def browsing(profile: Path, width: int = 1200) -> AsyncIterator[Tab]:
    """Start Chromium with a new profile, and end it."""
    command = ["chromium", *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    command += [f"--window-size={width},900", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = profile / "DevToolsActivePort"
        for _ in range(300):
            if told.is_file() and told.read_text().count("\n"):
                break
            assert process.poll() is None, "Chromium ended"
            await asyncio.sleep(0.1)
        port = told.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            address = next(one["webSocketDebuggerUrl"] for one in json.load(answer) if one["type"] == "page")
        async with websockets.connect(address, max_size=None, proxy=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(20)
