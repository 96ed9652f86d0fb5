"""Make the README's pictures from what the program really prints.

python docs/pictures.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent

MISTAKES = """\
netspec: 1
inputs:
  image: [N, 1, 28, 28]
layers:
  - {name: conv1, type: Conv2d, in_channels: 1, out_channels: 6, kernal_size: 5, padding: 2}
  - {name: conv2, type: Conv2d, inputs: image, in_channels: 1, out_channels: 16, kernel_size: 31}
  - {name: fc, type: Linear, inputs: image, in_features: 784, out_features: 10}
outputs: [softmax]
"""


def picture(name: str, arguments: list[str], cwd: Path, width: int) -> None:
    """Run the command and draw what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "netspec", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    console = Console(record=True, width=width, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    console.print(Text(f"$ netspec {' '.join(arguments)}", style="bold"))
    for line in (done.stdout + done.stderr).rstrip().split("\n"):
        text = Text(line)
        text.highlight_regex(r"error\[[a-z-]+\]", "bold red")
        text.highlight_regex(r"^ *[|]? *\^+$", "bold red")
        text.highlight_regex(r"= help:.*", "cyan")
        text.highlight_regex(r"^[\w./]+:\d+:\d+:", "bold")
        console.print(text)
    svg = console.export_svg(title="netspec")
    # Fonts are fetched from the network otherwise; any monospace one will do.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (ROOT / "docs" / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.yaml").write_text(MISTAKES)
        picture("diagnostics.svg", ["validate", "net.yaml"], Path(folder), 110)
    picture("shapes.svg", ["shapes", "configs/lenet5.yaml"], ROOT, 86)
