"""docs/gpu_kernels.md, the list of what has run on a GPU: it names every kernel, and hides none that nothing starts.

For each kernel and type it keeps a check of docs/gpu/conformance.py that starts it; those are run here.
"""

from __future__ import annotations

import pytest

from docs.gpu import ledger
from docs.gpu.checks import Check, Place, run
from docs.gpu.conformance import GROUPS
from netspec.backends.cupy import source
from tests.backends.cupy.host import LAUNCHED

pytestmark = [pytest.mark.compiler, pytest.mark.filterwarnings("ignore::UserWarning")]
AGAIN = "run python docs/gpu_report.py --host --ledger"


def test_the_list_is_what_its_data_say() -> None:
    assert ledger.LIST.read_text(encoding="utf-8") == ledger.render(ledger.read()), AGAIN


def test_it_names_the_kernels_that_exist() -> None:
    listed = {key.split()[0] for key in ledger.read()["host"]["kernels"]}
    assert listed <= set(source.kernels()), AGAIN
    assert {name for name, _ in ledger.rows(ledger.read())} == set(source.kernels())


def test_every_kernel_is_started_as_it_says() -> None:
    data = ledger.read()
    LAUNCHED.clear()
    wrong = []
    for chosen in ledger.chosen(data):
        check = Check(*chosen)
        outcome = run(check, *GROUPS[check.group], Place("cuda", host=True))
        wrong += [f"{check.title}: {finding.error}" for finding in outcome.findings if finding.error]
    assert not wrong
    started = {f"{name} {dtype}" for name, dtype in LAUNCHED}
    missing = set(data["host"]["kernels"]) - started
    assert not missing, AGAIN
    lonely = [name for name, dtype in ledger.rows(data) if not dtype]
    assert {name for name, _ in LAUNCHED} == set(source.kernels()) - set(lonely), AGAIN


def test_what_ran_on_a_gpu_is_kept_and_goes_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ledger.read()
    key = next(iter(data["host"]["kernels"]))
    ran = {"date": "2000-01-01", "device": "H200", "cuda": "13.0", "checks": 3, "failed": 0}
    data["gpu"] = {key: {**ran, "source": ledger.digest(key)}, "graph capture": ran}
    text = ledger.render(data)
    assert "Nothing below has ever run on a GPU" not in text
    assert "| graph capture |" in text
    assert text.count("2000-01-01, H200, CUDA 13.0 |") == 2
    data["gpu"][key]["source"] = "another"
    assert ledger.render(data).count("2000-01-01, H200, CUDA 13.0; its source has changed since |") == 1
