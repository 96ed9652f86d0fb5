"""`netspec validate --only-networks`: what it passes over, and what it must not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import netspec

NETWORK = "netspec: 1\ninputs: {x: [N, 3]}\nlayers: [{type: ReLU}]\n"

OTHERS = {
    "compose.yaml": "services:\n  netspec: {image: netspec}\n",
    "action.yaml": "runner: ubuntu-latest\non: push\n",
    "manifest.yaml": "kind: Service\n---\nkind: Deployment\n",
    "chart.yaml": "{{- if .Values.on }}\nkind: Service\n{{- end }}\n",
    "cloud.yaml": "Resources: !Ref Thing\n",
    "list.yaml": "- netspec: 1\n",
    "word.yaml": "netspec\n",
    "empty.yaml": "",
    "blocks.yaml": "netspec: 1\nblocks: {B: {layers: [{type: ReLU}]}}\n",
}
OURS = {
    "typo.yaml": NETWORK.replace("ReLU", "ReLu"),
    "syntax.yaml": NETWORK + "  oops: [\n",
    "nothing_else.yaml": "netspec: 1\n",
    "beginning.yaml": "netspec: [1\n",
    "spaced.yaml": "netspec : 1\n\tinputs\n",
    "profile.yaml": "runner: 1\ndevise: cpu\n",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(OTHERS[name])
    done = netspec("validate", "--only-networks", name, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no network or run profile in 1 file\n", "")


@pytest.mark.parametrize("name", OURS)
def test_wrong_networks_and_profiles_are_not(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(OURS[name])
    done = netspec("validate", "--only-networks", name, cwd=tmp_path)
    assert done.returncode == 1
    assert "in 1 file" in done.stderr


def test_what_is_left_is_checked(tmp_path: Path) -> None:
    for name, text in (OTHERS | {"net.yaml": NETWORK}).items():
        (tmp_path / name).write_text(text)
    files = [*OTHERS, "net.yaml"]
    done = netspec("validate", "--only-networks", *files, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "net.yaml: valid (1 layer, 0 parameters)\n")
    done = netspec("validate", "--only-networks", "--format", "json", *files, cwd=tmp_path)
    assert [file["path"] for file in json.loads(done.stdout)["files"]] == ["net.yaml"]


def test_a_missing_file_is_still_said(tmp_path: Path) -> None:
    done = netspec("validate", "--only-networks", "gone.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "error[file-not-found]" in done.stderr
