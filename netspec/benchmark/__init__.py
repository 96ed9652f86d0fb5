"""How fast a network runs, alone and beside other runtimes, measured so that the figures can be believed.

    problem      the network file, its sizes, its threads: plain values, so that another process can be told
    contender    one runtime in one setting; peers: netspec, PyTorch (`torch_peer`), ONNX Runtime
    agreement    outputs are compared before anything is timed
    rounds       contenders take turns in one process; statistics: what is kept of the times
    alone        one contender in a process of its own: peak memory, and a check that the turns are fair
    layers       least time of each layer
    measure      all of it in order; report, picture: tables, JSON, SVG

What is the same for everybody: the weights (copied into each runtime's own memory), the inputs, the number
of threads, the machine's state from one tenth of a second to the next. What is a peer's own: its best
setting, found in a short trial. PyTorch runs eagerly in inference mode, contiguous or channels_last (weights
and inputs then lie so beforehand); ONNX Runtime with all graph optimisations, with outputs in new arrays or
in buffers bound once, its threads waiting awake or asleep. netspec is called as a user calls it: `net(x)`,
inputs checked, outputs in fresh arrays.
"""
