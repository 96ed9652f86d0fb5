"""Many rows from files to files: a folder of shards, computed here or by the workers of a Ray cluster.

    sources    input files (.npy, .npz, pictures, Parquet) as rows that are read when they are asked for
    job        the network, its inputs and the shards that its outputs are cut into
    manifest   what was asked for, so that a later run knows which shards are finished and still right
    shards     one shard computed batch by batch, written beside and renamed
    local      the shards one after the other, in this process
    ray_data   the shards as a Ray Dataset, mapped by actors that each load the network once
    parquet    tensor columns in and out

Both engines compute the same shards from the same batches, so their files are the same.
"""
