"""Bars per layer, as SVG."""

from __future__ import annotations

from html import escape

from netspec.benchmark.measure import Measurement
from netspec.benchmark.report import seconds

COLOURS = {"netspec": "#1f6feb", "torch": "#ee4c2c", "onnxruntime": "#8b949e"}
LABEL, BAR, VALUE = 250, 520, 90
"""Widths of the columns: names, bars, times."""
LINE = 13
"""Height of a bar with its gap."""
STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#24292f}.small{font-size:10px;fill:#57606a}"
)


def draw(found: Measurement) -> str:
    """One group of bars a layer, one bar a runtime, longest time to the right edge."""
    runtimes = [result.name for result in found.results]
    longest = max((t for layer in found.layers for t in layer.seconds.values()), default=1.0)
    group = LINE * len(runtimes) + 8
    top = 58
    width, height = LABEL + BAR + VALUE + 20, top + group * len(found.layers) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="20">{escape(_title(found))}</text>',
    ]
    left = 10.0
    for result in found.results:
        label = f"{result.name} {result.version}: {seconds(result.times.minimum)}"
        parts.append(f'<rect x="{left}" y="32" width="10" height="10" fill="{COLOURS[result.name]}"/>')
        parts.append(f'<text class="small" x="{left + 14}" y="41">{escape(label)}</text>')
        left += 34 + 6.2 * len(label)
    for number, layer in enumerate(found.layers):
        y = top + number * group
        name = layer.name if len(layer.name) <= 24 else "…" + layer.name[-23:]
        parts.append(f'<text x="10" y="{y + 11}">{escape(name)}</text>')
        parts.append(
            f'<text class="small" x="{LABEL - 8}" y="{y + 11}" text-anchor="end">{layer.type}</text>'
        )
        for place, runtime in enumerate(runtimes):
            if runtime not in layer.seconds:
                continue
            taken = layer.seconds[runtime]
            length = max(BAR * taken / longest, 0.5)
            bar = y + place * LINE
            parts.append(
                f'<rect x="{LABEL}" y="{bar + 1}" width="{length:.1f}" height="{LINE - 2}" '
                f'fill="{COLOURS[runtime]}"/>'
            )
            parts.append(
                f'<text class="small" x="{LABEL + length + 5:.1f}" y="{bar + 10}">{seconds(taken)}</text>'
            )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _title(found: Measurement) -> str:
    inputs = ", ".join(f"{name} {list(shape)}" for name, shape in found.inputs.items())
    threads = found.problem.threads
    return f"{found.name}: {inputs}, {threads} thread{'s' * (threads > 1)}, least time of each layer"
