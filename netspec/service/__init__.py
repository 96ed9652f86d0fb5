"""`netspec serve`: networks behind HTTP, by the Open Inference Protocol v2 with its binary tensor extension.

A request's way; each step is a file:

    app          the table of routes; who may ask (token)
    handlers     one function a route
    body         the request's bytes, limited and decompressed (codings)
    request      bytes -> checked arrays, viewed where they lie (datatypes)
    batching     requests of one shape gathered, computed in a thread
    response     arrays -> JSON and bytes

    model        one loaded network: what it takes and gives, its figures
    repository   the models by name and version: load, reload, unload
    figures      what Prometheus and the statistics count
    openapi      the service in OpenAPI 3.1, each model with its own types (typed)
    static       the page at `/`, whose files are in page/
    server       uvicorn, signals, draining (protocol: limits of a connection)

Protocol: https://github.com/kserve/open-inference-protocol (required, rest) and
https://github.com/triton-inference-server/server/tree/main/docs/protocol (binary data, statistics,
model repository, model configuration, classification).
"""
