"""NVIDIA's tritonclient, unmodified, against `netspec serve`: prints what it was told.

pip install -e ".[serve]" "tritonclient[http]" && python docs/serve_transcript.py
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import netspec

ROOT = Path(__file__).parent.parent
NETWORKS = ("configs/lenet5.yaml", "configs/siamese.yaml")


@contextmanager
def service() -> Iterator[str]:
    """The address of a service of two networks."""
    command = [sys.executable, "-m", "netspec", "serve", *NETWORKS, "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            print(re.sub(r"^\S+T\S+ ", "", line).rstrip())
            if found := re.search(r"http://(\S+)", line):
                address = found[1]
            if "loaded model=siamese" in line:
                break
        yield address
        process.send_signal(signal.SIGTERM)
        for line in process.stderr:
            print(re.sub(r"^\S+T\S+ ", "", line).rstrip())
        print("exit code", process.wait())


def tensor(name: str, array: Any, binary: bool = True) -> triton.InferInput:
    """An input as the client sends it."""
    names = {"float32": "FP32", "float16": "FP16", "int64": "INT64"}
    found = triton.InferInput(name, array.shape, names[str(array.dtype)])
    found.set_data_from_numpy(array, binary_data=binary)
    return found


def show(text: str, value: Any) -> None:
    """One line of the transcript."""
    print(f"{text:<58} {value}")


def main() -> None:
    """Ask everything."""
    rng = np.random.RandomState(0)
    images = rng.random_sample((40, 1, 28, 28)).astype("f4")
    lenet = netspec.load(ROOT / NETWORKS[0])
    with service() as address:
        client = triton.InferenceServerClient(address)
        show("is_server_live(), is_server_ready(), is_model_ready()",
             [client.is_server_live(), client.is_server_ready(), client.is_model_ready("lenet5", "1")])  # fmt: skip
        show("get_server_metadata()", client.get_server_metadata())
        for name in ("lenet5", "siamese"):
            show(f'get_model_metadata("{name}")', client.get_model_metadata(name))
        show("get_model_repository_index()", client.get_model_repository_index())
        for binary in (True, False):
            for coding in (None, "gzip", "deflate"):
                result = client.infer(
                    "lenet5", [tensor("image", images, binary)], request_id="a",
                    outputs=[triton.InferRequestedOutput("probabilities", binary_data=binary)],
                    request_compression_algorithm=coding, response_compression_algorithm=coding,
                )  # fmt: skip
                difference = np.abs(result.as_numpy("probabilities") - lenet(images)).max()
                form = "binary" if binary else "JSON"
                show(f"infer, {form}, {coding or 'plain'}: id, largest difference",
                     f"{result.get_response()['id']} {difference:.1e}")  # fmt: skip
        half = client.infer("lenet5", [tensor("image", images.astype("f2"))]).as_numpy("probabilities")
        show("infer, FP16: largest difference", f"{np.abs(half - lenet(images)).max():.1e}")
        best = [triton.InferRequestedOutput("probabilities", class_count=3)]
        show("infer, classification=3", client.infer("lenet5", [tensor("image", images[:1])], outputs=best)
             .as_numpy("probabilities").tolist())  # fmt: skip
        pair = [tensor("left", images[:2]), tensor("right", images[2:4])]
        asked = [triton.InferRequestedOutput("probability")]
        show("infer, two inputs, one output of two",
             client.infer("siamese", pair, outputs=asked).as_numpy("probability").tolist())  # fmt: skip
        for text, model, inputs in (
            ("unknown model", "lenet", [tensor("image", images)]),
            ("unknown input", "lenet5", [tensor("imag", images)]),
            ("wrong size", "lenet5", [tensor("image", images[..., :27])]),
            ("another kind of number", "lenet5", [tensor("image", images.astype("i8"))]),
            ("an input too few", "siamese", pair),
        ):
            try:
                client.infer(model, inputs)
            except InferenceServerException as error:
                show(f"infer, {text}", f"{error.status()} {error.message()}")
        (figures,) = client.get_inference_statistics("lenet5")["model_stats"]
        show("get_inference_statistics(): inferences, executions",
             [figures["inference_count"], figures["execution_count"]])  # fmt: skip
        client.close()


if __name__ == "__main__":
    main()
