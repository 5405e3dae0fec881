"""Put into the test environment by `make test`: torchvision imports beside a torch that it was not built for.

PyPI's torchvision is linked against CUDA, and its compiled operators cannot be loaded beside a CPU torch, without which
it refuses to import, and with it timm, Lightning and transformers. Before its first import the operators are declared
by their schemas, as `--trace` does it; where the compiled ones load, nothing is done.
"""

from __future__ import annotations

import sys


class _Before:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)  # type: ignore[arg-type]
            from tricklint.trace.worker import torchvision_ops

            torchvision_ops.declare()


sys.meta_path.insert(0, _Before())  # type: ignore[arg-type]
