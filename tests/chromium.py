"""Finds the Chromium of the browser tests; as a command, prints its path or says how to get one.

`python -m tests.chromium` exits with 1 where there is none; `--install` installs the system's where
it may (as root on a system with apt-get).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Path of the browser: $CHROMIUM, the system's, or the one that playwright installed."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    for name in NAMES:
        # An Ubuntu stub only tells to install a snap: it must also run.
        path = shutil.which(name)
        if path and _runs(path):
            return path
    return _of_playwright()


def _runs(path: str) -> bool:
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() and _runs(path) else None


def install() -> None:
    """Install the system's Chromium where that needs nobody's permission."""
    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get")):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "chromium"]):
        print("+", *command, file=sys.stderr)
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode:
            return


ADVICE = """\
***************************************************************************************
  NO CHROMIUM WAS FOUND: the browser tests will NOT run, all others will.
  To run them too, do one of these, then `make test` again:
      sudo apt-get update && sudo apt-get install -y chromium          (Debian)
      .venv/bin/playwright install --with-deps chromium                (any Linux, macOS)
      CHROMIUM=/path/to/chrome make test
***************************************************************************************"""


def main(arguments: list[str]) -> int:
    path = find_chromium()
    if path is None and "--install" in arguments:
        install()
        path = find_chromium()
    print(path or ADVICE, file=sys.stdout if path else sys.stderr)
    return 0 if path else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
