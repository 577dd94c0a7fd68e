"""A real Chromium, driven by its DevTools protocol: what a reader of a report sees, on screen and on paper.

Skipped visibly where there is no Chromium or no axe-core; PASSMUSTER_REQUIRE=browser makes that a failure. axe-core is
not part of the project: PASSMUSTER_AXE names its axe.min.js, or it is found where npm or .ci/run put it.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import websocket

from required import do_without

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Page:
    """One tab. `asked` are the addresses that it requested beside its own."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self._next = 0
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setBypassCSP", enabled=True)  # for axe alone; the report itself has no script

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of one command."""
        self._next += 1
        self._socket.send(json.dumps({"id": self._next, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            self._note(message)
            if message.get("id") == self._next:
                assert "error" not in message, message["error"]
                return message["result"]

    def _note(self, message: Any) -> None:
        if message.get("method") == "Network.requestWillBeSent":
            self.asked.append(message["params"]["request"]["url"])

    def open(self, path: Path | str, *, scheme: str = "light", width: int = 1280) -> None:
        """Shows a file or an address in a window of that width, for a reader who prefers that colour scheme."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[feature])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.asked.clear()
        self.call("Page.navigate", url=path if isinstance(path, str) else path.as_uri())
        while self.value("document.readyState") != "complete":
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression, or the promise that it is, comes to."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def close(self) -> None:
        """Lets go of the tab."""
        self._socket.close()

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A screenshot of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def paper(self) -> bytes:
        """The page as it is printed, a PDF."""
        self.call("Emulation.setEmulatedMedia", media="print")
        answer = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        return base64.b64decode(answer["data"])


@contextmanager
def chromium() -> Iterator[Page]:
    """A fresh Chromium with one tab, gone afterwards."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        do_without("browser", "no Chromium on PATH; PASSMUSTER_REQUIRE=browser makes this a failure")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
        process = subprocess.Popen(
            [found, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            page = Page(_tab(Path(profile) / "DevToolsActivePort", process))
            try:
                yield page
            finally:
                page.close()
        finally:
            process.terminate()
            process.wait(timeout=20)


def _tab(announced: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        lines = announced.read_text().splitlines() if announced.exists() else []
        if len(lines) >= 2:
            with urlopen(f"http://127.0.0.1:{lines[0]}/json/list", timeout=10) as answer:
                tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise RuntimeError("Chromium did not open its debugging port")


def axe() -> str:
    """The source of axe-core, or a visible skip."""
    named = os.environ.get("PASSMUSTER_AXE")
    places = [Path(named)] if named else []
    root = Path(__file__).resolve().parents[1]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "passmuster" / "axe"
    folders = (root, root.parent, Path.home(), cache)
    places += [folder / "node_modules" / "axe-core" / "axe.min.js" for folder in folders]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        do_without("browser", "axe-core is not here: npm install axe-core, and name its axe.min.js in PASSMUSTER_AXE")
    return found.read_text(encoding="utf-8")
