"""Scripts mended by TRK301 survive an out-of-memory error, raised here by hand, and learn what they learned before."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

FIXTURES = Path(__file__).parents[2] / "fixtures" / "fixed-cuda-batch"


def _run(name: str, monkeypatch: pytest.MonkeyPatch, largest: int | None = None) -> tuple[dict[str, Any], list[int]]:
    """Run a fixture; a model that is called with more than `largest` samples raises OutOfMemoryError."""
    sizes: list[int] = []
    forward = torch.nn.Sequential.forward

    def limited(self: Any, x: Any) -> Any:
        sizes.append(len(x))
        if largest is not None and len(x) > largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (raised by hand)")
        return forward(self, x)

    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.Sequential, "forward", limited)
        torch.manual_seed(0)
        names = runpy.run_path(str(FIXTURES / name))
    return names, sizes


@pytest.mark.parametrize("largest", [4, 3, 2, 1])
def test_the_gradient_is_that_of_the_whole_batch(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = _run("bad_plain_loop.py", monkeypatch)
    after, sizes = _run("bad_plain_loop.fixed.py", monkeypatch, largest)
    assert max(size for size in sizes if size <= largest) == {4: 4, 3: 2, 2: 2, 1: 1}[largest]
    for name, weight in before["model"].state_dict().items():
        torch.testing.assert_close(after["model"].state_dict()[name], weight)
    assert after["running_loss"] == pytest.approx(before["running_loss"], rel=1e-5)
    assert after["correct"] == before["correct"]


def test_without_the_error_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = _run("bad_plain_loop.py", monkeypatch)
    after, sizes = _run("bad_plain_loop.fixed.py", monkeypatch)
    assert set(sizes) == {4}
    for name, weight in before["model"].state_dict().items():
        assert torch.equal(after["model"].state_dict()[name], weight)


def test_pieces_of_unequal_size_count_by_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    names, _ = _run("bad_plain_loop.fixed.py", monkeypatch)
    torch.manual_seed(1)
    model, criterion = torch.nn.Linear(4, 2), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(7, 4), torch.randint(0, 2, (7,))
    criterion(model(x), y).backward()
    whole = model.weight.grad.clone()

    def small(x: Any) -> Any:
        if len(x) > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (raised by hand)")
        return model(x)

    loss, outputs = names["backward_in_pieces"](optimizer, small, criterion, x, y)
    torch.testing.assert_close(model.weight.grad, whole)
    torch.testing.assert_close(loss, criterion(model(x), y).detach())
    assert outputs.shape == (7, 2) and not outputs.requires_grad


def test_one_sample_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError):
        _run("bad_plain_loop.fixed.py", monkeypatch, largest=0)


@pytest.mark.parametrize("name", ["bad_batch_norm", "bad_trainer_class", "bad_argparse_default"])
def test_other_mended_scripts_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["script"])
    runpy.run_path(str(FIXTURES / f"{name}.fixed.py"), run_name="__main__")


def test_accelerate_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for accelerate's decorator that halves on the error, as the real one does."""
    import sys
    from types import ModuleType

    def find_executable_batch_size(starting_batch_size: int) -> Any:
        def decorate(function: Any) -> Any:
            def run(*args: Any, **kwargs: Any) -> Any:
                size = starting_batch_size
                while True:
                    try:
                        return function(size, *args, **kwargs)
                    except torch.cuda.OutOfMemoryError:
                        size //= 2

            return run

        return decorate

    utils = ModuleType("accelerate.utils")
    utils.find_executable_batch_size = find_executable_batch_size  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "accelerate", ModuleType("accelerate"))
    monkeypatch.setitem(sys.modules, "accelerate.utils", utils)
    sizes: list[int] = []
    forward = torch.nn.Linear.forward

    def limited(self: Any, x: Any) -> Any:
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (raised by hand)")
        return forward(self, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", limited)
    runpy.run_path(str(FIXTURES / "bad_accelerate.fixed.py"))
    assert sizes[:2] == [8, 4] and set(sizes[2:]) == {2}
