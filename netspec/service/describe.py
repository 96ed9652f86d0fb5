"""A model in the protocol's JSON: metadata, configuration, statistics, state."""

from __future__ import annotations

from typing import Any

from netspec.report.shapes import report_of, to_json
from netspec.runtime.profile import Service
from netspec.service.datatypes import TRITON
from netspec.service.model import Model
from netspec.service.repository import Entry
from netspec.service.signature import Port

Json = dict[str, Any]


def metadata(model: Model, versions: list[str]) -> Json:
    """`GET v2/models/{model}`; -1 is a size that varies."""
    return {
        "name": model.name,
        "versions": versions,
        "platform": "netspec",
        "inputs": [_tensor(port) for port in model.signature.inputs.values()],
        "outputs": [_tensor(port) for port in model.signature.outputs.values()],
    }


def _tensor(port: Port) -> Json:
    return {"name": port.name, "datatype": port.datatype, "shape": list(port.shape)}


def config(model: Model, service: Service) -> Json:
    """Triton's model configuration. max_batch_size 0: the dims are whole shapes.

    https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
    """
    return {
        "name": model.name,
        "platform": "netspec",
        "backend": "netspec",
        "version_policy": {"all": {}},
        "max_batch_size": 0,
        "input": [_configured(port) for port in model.signature.inputs.values()],
        "output": [_configured(port) for port in model.signature.outputs.values()],
        "instance_group": [{"name": model.name, "kind": "KIND_CPU" if model.net.device == "cpu" else "KIND_GPU",
                            "count": service.workers}],
        "parameters": {
            "max_batch": {"string_value": str(service.max_batch)},
            "max_delay_ms": {"string_value": str(service.max_delay_ms)},
        },
    }  # fmt: skip


def _configured(port: Port) -> Json:
    return {"name": port.name, "data_type": TRITON[port.datatype], "dims": list(port.shape)}


def shapes(model: Model) -> Json:
    """`netspec shapes --format json`, with the protocol's datatypes; what an input is and how a picture is
    prepared for it; an output's labels and the inputs that it needs. Takes a while for many layers."""
    report = to_json(report_of(model.net.shaped({})))
    signature, spec = model.signature, model.net.spec
    for name, port in signature.inputs.items():
        given = spec.inputs[name]
        picture = given.picture.to_mapping() if given.picture is not None else None
        report["inputs"][name] |= {
            "datatype": port.datatype, "description": given.description, "picture": picture
        }  # fmt: skip
    for name, port in signature.outputs.items():
        needs = list(signature.wanted((name,))[1])
        report["outputs"][name] |= {"datatype": port.datatype, "labels": list(port.labels), "needs": needs}
    return {**report, "description": spec.description}


def statistics(entry: Entry) -> Json:
    """One member of `model_stats`."""
    return {"name": entry.name, "version": entry.version, **entry.figures.statistics.to_json()}


def state(entry: Entry) -> Json:
    """One member of the repository's index."""
    loaded = entry.model is not None
    return {
        "name": entry.name,
        "version": entry.version,
        "state": "READY" if loaded else "UNAVAILABLE",
        "reason": "" if loaded else entry.reason,
    }
