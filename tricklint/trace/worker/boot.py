"""Started as a script by any interpreter: finds this very copy of tricklint, whatever is installed there."""

import importlib.util
import os
import sys


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    package = os.path.dirname(os.path.dirname(here))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    spec = importlib.util.spec_from_file_location(
        "tricklint", os.path.join(package, "__init__.py"), submodule_search_locations=[package]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tricklint"] = module
    spec.loader.exec_module(module)
    from tricklint.trace.worker.server import serve

    serve()


if __name__ == "__main__":
    main()
