"""tricklint: the linter for training recipes.

`check_model`, `watch` and `surgery` work on live models and need torch; they are imported when they are first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tricklint import surgery as surgery
    from tricklint.trace.live import check_model as check_model
    from tricklint.watching.notebook import watch as watch

__version__ = "0.1.0"
__all__ = ["__version__", "check_model", "surgery", "watch"]

_LAZY = {
    "check_model": ("tricklint.trace.live", "check_model"),
    "surgery": ("tricklint.surgery", ""),
    "watch": ("tricklint.watching.notebook", "watch"),
}


if not TYPE_CHECKING:  # to a type checker a name that is not listed above is a mistake

    def __getattr__(name: str) -> object:
        import importlib

        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _LAZY[name]
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if (error.name or "tricklint").partition(".")[0] == "tricklint":
                raise  # a bug of ours
            raise ImportError(f"tricklint.{name} needs {error.name}: pip install 'tricklint[trace]'") from None
        return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
