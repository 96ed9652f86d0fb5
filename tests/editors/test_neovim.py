"""The settings for Neovim, in a real Neovim without a window, against the real server.

Needs `nvim` on PATH, or NETSPEC_NVIM to say where one is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.external

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "editors" / "neovim" / "netspec.lua"
TRIAL = Path(__file__).parent / "trial.lua"

# The emoji is two units of utf-16, which Neovim speaks, and one code point: places must not shift.
NETWORK = """\
netspec: 1
inputs: {image: [N, 3, H, W]}
layers:
  - {"name": conv1, type: Conv2d, out_channels: 8, kernal_size: 3, padding: 1}  # 🙂
  - {name: relu1, type: ReLU}
  - {name: sum, type: add, inputs: [relu1, conv1]}
outputs: [sum]  # 🙂
"""


def neovim(folder: Path, *arguments: str) -> None:
    """Run Neovim with our settings and nobody else's."""
    program = os.environ.get("NETSPEC_NVIM") or shutil.which("nvim")
    if program is None:
        raise RuntimeError("nvim is missing: `apt-get install neovim`, or set NETSPEC_NVIM")
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [program, "--headless", "--clean", "-u", str(SETTINGS), *arguments],
        cwd=folder, env={**os.environ, "PATH": scripts}, check=True, timeout=90, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the trial has seen."""
    folder = tmp_path_factory.mktemp("neovim")
    (folder / "net.yaml").write_text(NETWORK, encoding="utf-8")
    output = folder / "found.json"
    neovim(folder, "--cmd", f'let g:netspec_output="{output}"', "net.yaml", "-c", f"luafile {TRIAL}")
    result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    assert "failure" not in result, result["failure"]
    return result


def test_the_mistake_is_marked(found: dict[str, Any]) -> None:
    [mark] = found["diagnostics"]
    line = NETWORK.splitlines()[mark["line"]]
    assert line[mark["from"] : mark["to"]] == "kernal_size"
    assert mark["code"] == "unknown-key"
    assert "did you mean `kernel_size`?" in mark["message"]


def test_hints_show_shapes(found: dict[str, Any]) -> None:
    labels = {hint["position"]["line"]: text(hint["label"]) for hint in found["hints"]}
    assert "[N, 8, " in labels[4], labels
    assert found.get("shown_hints", len(found["hints"])) == len(found["hints"])


def test_hover_shows_the_documentation(found: dict[str, Any]) -> None:
    assert "Slides a kernel over images" in json.dumps(found["hover"])


def test_an_action_corrects_the_name(found: dict[str, Any]) -> None:
    assert any("kernel_size" in title for title in found["actions"])
    assert found["after_action"] == NETWORK.replace("kernal", "kernel").splitlines()


def test_the_definition_is_found(found: dict[str, Any]) -> None:
    line, column = found["definition"]
    assert line == 4
    assert NETWORK.splitlines()[3][column:].startswith("conv1")


def test_a_rename_changes_all_places(found: dict[str, Any]) -> None:
    assert found["after_rename"] == [line.replace("conv1", "first") for line in found["after_action"]]


def test_types_are_offered(found: dict[str, Any]) -> None:
    assert {"Conv2d", "ConvTranspose2d"} <= set(found["completion"])


def test_other_yaml_starts_no_server(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("services:\n  netspec: {image: x}\n")
    count = "vim.fn.writefile({tostring(#vim.lsp.get_active_clients())}, 'count')"
    neovim(tmp_path, "other.yaml", "-c", f"lua {count}", "-c", "qall!")
    assert (tmp_path / "count").read_text() == "0\n"


def text(label: Any) -> str:
    """An inlay hint's label, whether in one part or several."""
    return label if isinstance(label, str) else "".join(part["value"] for part in label)
