"""What is kept of times, how outputs are compared, what is drawn: no clock involved."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.benchmark import drawing, measure, report
from netspec.benchmark.agreement import Disagreement, difference
from netspec.benchmark.layers import LayerTime
from netspec.benchmark.measure import Measurement, Result
from netspec.benchmark.picture import draw
from netspec.benchmark.problem import Problem
from netspec.benchmark.report import seconds
from netspec.benchmark.statistics import Statistics, percentile
from netspec.layers.base import State


class TestStatistics:
    def test_known_samples(self) -> None:
        found = Statistics.of([5.0, 1.0, 4.0, 2.0, 3.0])
        assert (found.runs, found.minimum, found.p50, found.mean) == (5, 1.0, 3.0, 3.0)
        assert found.p90 == pytest.approx(4.6)
        assert found.p99 == pytest.approx(4.96)

    @pytest.mark.parametrize("count", [1, 2, 7, 100])
    def test_percentiles_are_numpys(self, count: int) -> None:
        ordered = sorted(np.random.RandomState(count).random_sample(count).tolist())
        for share in (0, 0.5, 0.9, 0.99, 1):
            assert percentile(ordered, share) == pytest.approx(np.percentile(ordered, 100 * share))

    @pytest.mark.parametrize(
        ("amount", "text"),
        [(1.234, "1.23 s"), (0.99999, "1 s"), (0.01234, "12.3 ms"), (0.5, "500 ms"), (4.2e-6, "4.2 µs"),
         (9.999e-4, "1 ms"), (3e-8, "0.03 µs"), (1234.5, "1234 s")],
    )  # fmt: skip
    def test_three_digits(self, amount: float, text: str) -> None:
        assert seconds(amount) == text


class TestAgreement:
    def test_the_largest_difference_counts_against_the_largest_value(self) -> None:
        a = {"y": np.array([1.0, -4.0], "f4"), "z": np.array([1, 2])}
        b = {"y": np.array([1.0, -4.001], "f4"), "z": np.array([1, 2])}
        assert difference(a, b, "other", 1e-3) == pytest.approx(0.00025, rel=1e-3)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (np.array([1.0, 2.1], "f4"), "differ by 0.05 of the largest value, 0.001 is allowed"),
            (np.array([1.0, np.nan], "f4"), "differ by inf"),
            (np.array([1.0, 2.0]), r"gives \[2\] float64"),
            (np.array([[1.0, 2.0]], "f4"), r"gives \[1, 2\] float32"),
            (None, "gives nothing"),
        ],
    )
    def test_refused(self, other: Any, message: str) -> None:
        found = {} if other is None else {"y": other}
        with pytest.raises(Disagreement, match=message):
            difference({"y": np.array([1.0, 2.0], "f4")}, found, "torch 2.0", 1e-3)

    def test_integers_are_equal_or_not(self) -> None:
        with pytest.raises(Disagreement):
            difference({"y": np.array([3, 4])}, {"y": np.array([3, 5])}, "other", 10.0)

    def test_infinities_and_nan_at_the_same_places_agree(self) -> None:
        array = np.array([np.inf, -np.inf, np.nan, 1.0])
        assert difference({"y": array}, {"y": array.copy()}, "other", 0.0) == 0.0

    def test_zeros_agree_with_zeros_alone(self) -> None:
        zeros = {"y": np.zeros(3)}
        assert difference(zeros, zeros, "other", 1e-3) == 0.0
        with pytest.raises(Disagreement, match="inf"):
            difference(zeros, {"y": np.array([0, 0, 1e-9])}, "other", 1e-3)


class TestDrawing:
    def sizes(self, inputs: Any, given: Any = {}) -> Any:  # noqa: B006
        spec = netspec.parse(
            {"netspec": 1, "inputs": inputs, "layers": [{"type": "Identity", "inputs": "x"}]}
        )
        return drawing.sizes(spec.inputs, given)

    def test_one_row_where_the_first_axis_is_open(self) -> None:
        assert self.sizes({"x": ["N", 3, 8]}) == {"x": (1, 3, 8)}

    def test_a_symbol_has_one_size_everywhere(self) -> None:
        found = self.sizes({"x": ["N", "L"], "y": ["N", 2]}, {"x": (4, 9)})
        assert found == {"x": (4, 9), "y": (4, 2)}

    def test_pictures_have_the_size_they_are_cropped_to(self) -> None:
        found = self.sizes({"x": {"shape": ["N", 3, "H", "W"], "picture": {"resize": 40, "crop": [32, 24]}}})
        assert found == {"x": (1, 3, 32, 24)}

    def test_an_open_size_is_asked_for(self) -> None:
        with pytest.raises(
            netspec.InputError, match=r"input x: give H and W a size, such as --input 1,3,64,64"
        ):
            self.sizes({"x": ["N", 3, "H", "W"]})

    def test_weights_are_the_same_every_time_and_differ_by_name(self) -> None:
        states = {
            "a.weight": State("weight", (8, 4, 3, 3), 0),
            "b.weight": State("weight", (8, 4, 3, 3), 0),
            "bn.weight": State("weight", (500,), 0),
            "bn.running_var": State("running_var", (500,), 0, buffer=True),
            "bn.num_batches_tracked": State("num_batches_tracked", (), 0, "int64", True),
        }
        once, twice = (drawing.weights(states, "float32", 3) for _ in range(2))
        assert all(np.array_equal(once[k], twice[k]) for k in states)
        assert not np.array_equal(once["a.weight"], once["b.weight"])
        assert not np.array_equal(once["a.weight"], drawing.weights(states, "float32", 4)["a.weight"])
        assert once["a.weight"].var() == pytest.approx(2 / 36, rel=0.15)
        assert 0.5 <= once["bn.running_var"].min() < 0.6 < 1.4 < once["bn.running_var"].max() <= 1.5
        assert 0.8 <= once["bn.weight"].min() < once["bn.weight"].max() <= 1.2
        assert once["bn.num_batches_tracked"] == 0


def measurement() -> Measurement:
    ours = Result("netspec", "1", "", Statistics.of([0.001, 0.002]), {}, 0.0, 3_000_000, 0.0011)
    tried = {"contiguous": 0.005, "channels_last": 0.004}
    torch = Result("torch", "2", "channels_last", Statistics.of([0.004, 0.005]), tried, 2e-6, None, None)
    layers = (
        LayerTime("layer1.conv", "Conv2d", "[1, 2, 3, 3]", 5_000_000, {"netspec": 0.0006, "torch": 0.003}),
        LayerTime("<other>", "", "", 0, {"netspec": 0.0002}),
    )
    problem = Problem("net.yaml", 2)
    return Measurement(
        problem, "net", {"x": (4, 2, 3, 3)}, 10_000_000, 4, 1e-3, (ours, torch), 1_000_000, layers,
        measure.machine(),
    )  # fmt: skip


class TestReport:
    def test_table(self) -> None:
        lines = report.text(measurement()).splitlines()
        assert lines[0].startswith("net: x [4, 2, 3, 3], float32, 2 threads, 10,000,000 multiply-adds; ")
        assert lines[2].split() == [
            "runtime", "min", "p50", "p90", "p99", "mean", "rows/s", "GFLOP/s", "memory", "alone", "ratio",
        ]  # fmt: skip
        cells = [part.strip() for part in lines[4].split("  ") if part.strip()]
        assert cells == [
            "netspec 1",
            "1 ms",
            "1.5 ms",
            "1.9 ms",
            "1.99 ms",
            "1.5 ms",
            "2667",
            "20",
            "3 MB",
            "1.1 ms",
        ]
        assert lines[5].endswith(" 4.00")
        assert (
            "torch: channels_last (tried: contiguous 5 ms, channels_last 4 ms); outputs differ from netspec's "
            "by 2e-06 of the largest value (1e-03 is allowed)"
        ) in lines
        layer = next(line for line in lines if line.startswith("layer1.conv")).split()
        assert layer[-5:] == ["µs", "3", "ms", "75.0%", "16.7"]

    def test_json(self) -> None:
        found = json.loads(json.dumps(report.to_json(measurement())))
        assert found["threads"] == 2
        ours, torch = found["runtimes"]
        assert (ours["min"], ours["ratio"], ours["rows_per_second"]) == (0.001, 1.0, 4 / 0.0015)
        assert (torch["setting"], torch["ratio"], torch["memory_bytes"]) == ("channels_last", 4.0, None)
        assert found["layers"][0]["seconds"] == {"netspec": 0.0006, "torch": 0.003}
        assert found["layers"][0]["share"] == pytest.approx(0.75)
        assert found["layers"][1]["gflops"] is None

    def test_picture_has_a_bar_for_each_time(self, tmp_path: Path) -> None:
        root = ElementTree.fromstring(draw(measurement()))
        spaces = {"s": "http://www.w3.org/2000/svg"}
        texts = [text.text for text in root.findall("s:text", spaces)]
        assert {"layer1.conv", "<other>", "600 µs", "3 ms", "200 µs"} <= set(texts)
        bars = [r for r in root.findall("s:rect", spaces) if r.get("x") == "250"]
        widths = [float(bar.get("width", "0")) for bar in bars]
        assert widths == pytest.approx([104, 520, 34.7], abs=0.1)
