"""Stand-ins for packages that are not installed. They import, they can be inherited from; nothing follows from them."""

from __future__ import annotations

from typing import Any

called: list[str] = []


class StubBase:
    """What a class gets that inherits from a stub."""

    _tricklint_stub = ""


class Stub:
    """Any attribute of it is another; calling one is remembered, for then the model is not known."""

    def __init__(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __getattr__(self, name: str) -> Stub:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Stub(f"{self._name}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and callable(args[0]) and not isinstance(args[0], Stub):
            return args[0]  # used as a decorator
        called.append(str(self.__dict__["_name"]))
        return Stub(f"{self._name}()")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        from torch import nn

        module = self._name.endswith("Module")
        kind = type("Stubbed", (StubBase, nn.Module) if module else (StubBase,), {"_tricklint_stub": self._name})
        return (kind,)

    def __getitem__(self, item: Any) -> Stub:
        return Stub(f"{self._name}[…]")

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *exc: Any) -> None:
        return None

    def __or__(self, other: Any) -> Any:
        return Any

    __ror__ = __or__

    def __repr__(self) -> str:
        return f"<stub of {self._name}>"
