"""From a document to a `NetworkSpec`: every part is validated on its own, so that one mistake hides no other.

Instances of blocks are expanded here: arguments are put into the document's nodes first, and the result is
validated like any other entry. Instances with equal arguments share one expansion, and entries that use no
argument are validated once for all.

    header       the keys beside layers and blocks
    blocks       `blocks` and `include`
    entries      one list of entries; layer, instances and repetition read the kinds of entries
    reading      what these share: findings, limits, the blocks and instances around
"""

from __future__ import annotations

from netspec.diagnostics import Diagnostic
from netspec.document import Broken as BrokenNode
from netspec.document import Document, Mapping, Sequence, to_python
from netspec.layers.parameters import describe
from netspec.network.blocks import TextsByFile, instance_counts, read_blocks
from netspec.network.entries import Entries
from netspec.network.expressions import OUTSIDE
from netspec.network.header import read_header, top
from netspec.network.reading import Reading
from netspec.network.spec import Broken, Entry, NetworkSpec


def read(
    document: Document, directory: str | None = None, texts: TextsByFile | None = None
) -> tuple[NetworkSpec | None, list[Diagnostic]]:
    """The network that a document describes, with what is wrong with it.

    With errors the network is what could still be read (None: nothing). directory: where `weights`
    and `include` start from. texts: stand for included files that are open in an editor.
    """
    root = document.root
    if root is None or isinstance(root, BrokenNode):
        return None, []
    reading = Reading()
    if not isinstance(root, Mapping):
        reading.report(
            "wrong-type",
            f"a network file is a mapping with netspec, inputs and layers, got {describe(to_python(root))}",
            root.span,
        )
        return None, reading.findings.diagnostics()
    only_blocks = "blocks" in root and "layers" not in root and "inputs" not in root and root.complete
    if only_blocks:
        reading.report(
            "missing-key",
            "the network needs `inputs` and `layers`",
            top(root),
            help="a file of blocks is checked through the network that includes it",
        )
    header = read_header(root, document.source.name, only_blocks, reading)
    reading.blocks, reading.all_blocks, files = read_blocks(document, directory, reading.findings, texts)
    entries = Entries(reading)
    spec = NetworkSpec.model_construct(**header, layers=list(_layers(root, only_blocks, entries, reading)))
    spec._document = document
    spec._directory = directory
    spec._blocks, spec._included = reading.blocks, files
    reading.finished.append(reading.current)
    spec._unused = entries.instances.unused()
    counts = instance_counts([reading.current], reading.finished)
    return spec, reading.findings.diagnostics(counts)


def _layers(root: Mapping, only_blocks: bool, entries: Entries, reading: Reading) -> tuple[Entry, ...]:
    """The entries of the network."""
    path = ("layers",)
    nodes = root.get("layers")
    if nodes is None:
        if root.complete and not only_blocks:
            reading.report("missing-key", "the network needs `layers`, a list of layers", top(root))
        return ()
    if isinstance(nodes, BrokenNode):
        return ()
    if not isinstance(nodes, Sequence):
        got = describe(to_python(nodes))
        reading.report("wrong-type", f"layers: expected a list of layers, got {got}", nodes.span, path)
        return ()
    found = entries.read(nodes, path, OUTSIDE)
    if reading.stopped:
        return (Broken("0", many=True),)
    if not nodes.items and nodes.complete:
        reading.report("missing-key", "the list of layers is empty", nodes.span, path)
    elif not found and nodes.complete:
        key = root.key_node("layers")
        reading.report(
            "missing-key",
            "no layer is left: everything is repeated 0 times",
            key.span if key is not None else None,
            path,
        )
    return found


__all__ = ["read"]
