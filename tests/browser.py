"""A headless Chromium for tests, spoken to over its debugging pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
"""None where there is no Chromium."""

#: Seconds after which it is ended: a test never waits longer.
_LIMIT = 120


class Browser:
    """One page of a Chromium.

    Args:
        profile: an empty folder for it.
    """

    def __init__(self, profile: Path) -> None:
        read, write = os.pipe()
        answers, answering = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        # It reads from descriptor 3 and writes to 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{read} 4>&{answering}', f"{PROGRAM}", *flags, "about:blank"],
            pass_fds=(read, answering),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._end = threading.Timer(_LIMIT, self._process.kill)
        self._end.start()
        os.close(read)
        os.close(answering)
        self._write, self._answers = os.fdopen(write, "wb", buffering=0), os.fdopen(answers, "rb")
        self._number, self._session, self._loaded = 0, "", False
        self.messages: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, page: Path, *, width: int = 1200, height: int = 900) -> None:
        """Opens a page in a window of a size, and waits until it is loaded."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.messages.clear()
        self._loaded = False
        self._call("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._receive()

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Moves the pointer, and clicks."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, text: str = "") -> None:
        """Presses a key; ``text``: what it writes."""
        self._call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, text=text)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def screenshot(self) -> str:
        """What the window shows, as a PNG in base64."""
        return self._call("Page.captureScreenshot", format="png")["data"]

    def close(self) -> None:
        """Ends it."""
        self._end.cancel()
        self._process.kill()
        self._process.wait(_LIMIT)
        self._write.close()
        self._answers.close()

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        number = self._number
        session = {"sessionId": self._session} if self._session else {}
        content = {"id": number, "method": method, "params": parameters, **session}
        self._write.write(json.dumps(content).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]

    def _receive(self) -> dict[str, Any]:
        message = json.loads(_until_zero(self._answers))
        kind = message.get("method")
        if kind in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(json.dumps(message["params"]))
        self._loaded |= kind == "Page.loadEventFired"
        return message


def _until_zero(stream: Any) -> bytes:
    content = bytearray()
    while (byte := stream.read(1)) != b"\0":
        assert byte, "Chromium has ended"
        content += byte
    return bytes(content)
