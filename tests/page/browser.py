"""A browser without a window, driven over its DevTools pipe with the standard library alone."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS_TO_ANSWER = 60.0
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
# Chromium reads commands from descriptor 3 and writes answers to 4; the copies that it inherits have other numbers.
LAUNCHER = "import os, sys; [os.dup2(int(sys.argv[k]), k + 2) for k in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"

KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}
KEYS |= {" ": 32}


class Browser:
    """One tab, and what it asked for, complained of and threw since it was opened."""

    def __init__(self, commands: int, answers: int):
        self._commands, self._answers = commands, answers
        self._session, self._number, self._received = None, 0, b""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = ""
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._send(f"{domain}.enable")
        self._send("Page.setLifecycleEventsEnabled", enabled=True)

    def open(self, path: Path, *, width: int, scheme: str = "light", height: int = 900, fragment: str = "") -> None:
        """Loads a file at a width of the screen, by day (`light`) or by night (`dark`)."""
        metrics = dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self._send("Emulation.setDeviceMetricsOverride", **metrics)
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}, still])
        self._load("about:blank")  # Another fragment alone would load nothing.
        self.requests, self.complaints = [], []
        self._load(path.as_uri() + fragment)

    def _load(self, url: str) -> None:
        self._loaded = ""
        loader = self._send("Page.navigate", url=url)["loaderId"]
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while self._loaded != loader:
            self._receive(deadline)

    def evaluate(self, expression: str) -> Any:
        """Returns the value of an expression, or of the promise that it is; the page's policy does not bind it."""
        answer = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Presses a key as a person does, wherever the focus is."""
        text = {" ": " ", "Enter": "\r"}.get(key, "")
        one = dict(key=key, code="Space" if key == " " else key, windowsVirtualKeyCode=KEYS[key])
        self._send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **one)
        self._send("Input.dispatchKeyEvent", type="keyUp", **one)

    def screenshot(self, *, whole: bool = True) -> bytes:
        """Returns a PNG of the whole page, or of what fits the screen."""
        return base64.b64decode(self._send("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def _send(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            readable, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise TimeoutError("the browser does not answer")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise ConnectionError("the browser has ended")
            self._received += more
        line, _, self._received = self._received.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params"))
        return message

    def _note(self, method: str | None, params: Any) -> None:
        if method == "Page.lifecycleEvent" and params["name"] == "load":
            self._loaded = params["loaderId"]
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])


@contextlib.contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """Starts Chromium with a new profile, and ends it."""
    assert CHROMIUM is not None
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for pair in (os.pipe(), os.pipe()) for end in _closing(pair)]
    read_commands, commands, answers, write_answers = ends
    launch = [sys.executable, "-c", LAUNCHER, str(read_commands), str(write_answers), CHROMIUM]
    process = subprocess.Popen(
        [*launch, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(read_commands, write_answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)  # Chromium ends with its pipe.
        os.close(answers)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _closing(pair: tuple[int, int]) -> Iterator[int]:
    for end in pair:
        yield end
        os.close(end)
