"""Draws docs/serve.png: the page of `netspec serve`, in a real browser.

pip install -e ".[serve,image]" playwright && python docs/serve_picture.py     (and Chromium, on PATH)
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
NETWORKS = ("lenet5", "autoencoder", "segmentation", "siamese")


def draw(address: str, output: Path) -> None:
    """LeNet-5 with a seven."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1120, "height": 1560})
        page.goto(f"{address}/#/lenet5/1")
        page.get_by_label("Picture, or drop one here").set_input_files(ROOT / "configs/samples/seven.png")
        page.get_by_role("button", name="Run").click()
        page.get_by_role("table", name="best of probabilities").wait_for()
        page.get_by_role("heading", name="lenet5").click()
        picture = Image.open(io.BytesIO(page.screenshot())).convert(
            "P", palette=Image.Palette.ADAPTIVE, colors=96
        )
        picture.save(output, optimize=True)
        browser.close()


def main() -> None:
    """Serve, draw, end."""
    files = [f"configs/{name}.yaml" for name in NETWORKS]
    command = [sys.executable, "-m", "netspec", "serve", *files, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = ""
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                address = found[0]
            if f"loaded model={NETWORKS[-1]}" in line:
                break
        try:
            draw(address, ROOT / "docs" / "serve.png")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()


if __name__ == "__main__":
    main()
