"""tricklint: the linter for training recipes."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`tricklint.check_model` and `tricklint.surgery` need torch: they are imported when they are used."""
    import importlib

    if name == "check_model":
        return importlib.import_module("tricklint.trace.live").check_model
    if name == "surgery":
        return importlib.import_module("tricklint.surgery")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
