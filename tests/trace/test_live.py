"""`check_model`: what the very objects of a run show, inside whatever wraps them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

import tricklint


class Net(nn.Module):
    """A backbone with batch norms, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.head = nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.backbone(images)
        logits: torch.Tensor = self.head(features.mean((2, 3)))
        return logits


def codes(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[str]:
    return tricklint.check_model(model, optimizer, ignore=["TRK5", "TRK601"]).codes()


def one(model: nn.Module, optimizer: torch.optim.Optimizer | None, code: str) -> str:
    (found,) = tricklint.check_model(model, optimizer, select=[code])
    return found.message


# -- who is optimised -------------------------------------------------------------------------------------------------


def test_all_is_well() -> None:
    model = Net()
    assert codes(model, SGD(model.parameters(), 0.1)) == []
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(False)
    assert codes(model.eval(), SGD(model.head.parameters(), 0.1)) == []


def test_layers_thawed_after_the_optimizer_was_built() -> None:
    model = Net()
    model.backbone.requires_grad_(False)
    optimizer = SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model.backbone[3].requires_grad_(True)
    message = one(model, optimizer, "TRK103")
    assert "backbone.3.weight, backbone.3.bias (584 numbers) can be trained, but SGD has no group with them" in message
    optimizer.add_param_group({"params": model.backbone[3].parameters(), "lr": 0.01})
    assert not tricklint.check_model(model, optimizer, select=["TRK1"], ignore=["TRK104"])


def test_a_head_that_was_replaced_after_the_optimizer_was_built() -> None:
    model = Net()
    optimizer = AdamW(model.parameters())
    model.head = nn.Linear(8, 3)
    untrained, strangers = (
        f.message for f in tricklint.check_model(model, optimizer, select=["unfrozen-not-optimized"])
    )
    assert "head.weight, head.bias (27 numbers)" in untrained
    assert "AdamW holds 2 parameters that the model does not have" in strangers


def test_another_models_optimizer() -> None:
    found = tricklint.check_model(Net(), SGD(nn.Linear(2, 2).parameters(), 0.1), select=["TRK103"])
    assert len(found) == 2


def test_a_split_that_loses_parameters_or_holds_one_twice() -> None:
    model = Net()
    groups = [{"params": [p for p in model.parameters() if p.dim() > 3]}, {"params": model.head.parameters()}]
    assert "backbone.0.bias, backbone.1.weight and 4 more" in one(model, SGD(groups, 0.1), "TRK602")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about the second time, and goes on
        doubled = SGD([*model.parameters(), model.head.bias], 0.1)
    assert "head.bias is in SGD twice" in one(model, doubled, "TRK602")


def test_one_rate_for_old_layers_and_a_new_head() -> None:
    model = Net()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):  # as training leaves them
                module.running_mean.add_(1.0)  # type: ignore[union-attr]
    assert "head is new, the layers before it were trained before (backbone.1 has moved)" in one(
        model, SGD(model.parameters(), 0.1), "TRK101"
    )
    drawn = Net()
    for module in drawn.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)  # an initialisation, no training
            nn.init.normal_(module.bias)
    assert "TRK101" not in codes(drawn, SGD(drawn.parameters(), 0.1))
    gentle = [{"params": model.backbone.parameters(), "lr": 1e-3}, {"params": model.head.parameters()}]
    for optimizer in (SGD(gentle, 0.1), SGD(model.parameters(), 1e-4), SGD(model.head.parameters(), 0.1)):
        assert "TRK101" not in codes(model, optimizer)
    model.backbone[0].requires_grad_(False)
    assert "TRK101" not in codes(model, SGD([p for p in model.parameters() if p.requires_grad], 0.1))
    model.requires_grad_(True)
    with torch.no_grad():
        model.head.bias.fill_(3.0)  # the head was trained too: a run that goes on
    assert "TRK101" not in codes(model, SGD(model.parameters(), 0.1))


def test_layers_without_running_statistics_that_were_trained_before() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    optimizer = SGD(net.parameters(), 0.1)
    assert "TRK101" not in codes(net, optimizer)
    nn.init.normal_(net[1].bias)  # type: ignore[arg-type]
    assert "TRK101" not in codes(net, optimizer)  # an odd init, perhaps: training moves them all
    nn.init.normal_(net[4].bias)  # type: ignore[arg-type]
    assert "(1.bias has moved)" in one(net, optimizer, "TRK101")


def test_batch_norms_in_train_mode_among_frozen_layers() -> None:
    model = Net()
    model.backbone.requires_grad_(False)
    optimizer = SGD(model.head.parameters(), 0.1)
    assert codes(model.train(), optimizer) == ["TRK104"]
    model.backbone.eval()
    assert codes(model, optimizer) == []


# -- weights that cannot learn ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "says"), [(0.5, "all 0.5: every unit"), (0.0, "all zero and relu follows")])
def test_hidden_weights_that_are_one_number(value: float, says: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    nn.init.constant_(model[2].weight, value)  # type: ignore[arg-type]
    assert says in one(model, None, "TRK504")
    model[2].weight.requires_grad_(False)  # type: ignore[union-attr]
    assert not tricklint.check_model(model, select=["TRK504"])


def test_zeros_that_learn_are_left_alone() -> None:
    class Block(nn.Module):
        """A zero-initialised branch beside the identity, and a filter for each channel."""

        def __init__(self) -> None:
            super().__init__()
            self.blur = nn.Conv2d(3, 3, 3, padding=1, groups=3)
            self.inner = nn.Conv2d(3, 3, 1)
            self.outer = nn.Conv2d(3, 3, 1)
            self.head = nn.Linear(3, 2)
            nn.init.constant_(self.blur.weight, 1 / 9)
            for layer in (self.outer, self.head):
                nn.init.zeros_(layer.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.blur(x)
            x = x + self.outer(self.inner(x).relu())
            logits: torch.Tensor = self.head(x.mean((2, 3)))
            return logits

    assert not tricklint.check_model(Block(), select=["TRK504"])


def test_a_learnt_mask_of_attention_is_reached() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(8, 24)
            self.table = nn.Parameter(torch.zeros(4, 4))
            self.unused = nn.Parameter(torch.zeros(4, 4))
            self.head = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            query, key, value = self.qkv(x).chunk(3, -1)
            out = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=self.table)
            logits: torch.Tensor = self.head(out.mean(1))
            return logits

    (found,) = tricklint.check_model(Attention(), example=torch.randn(2, 4, 8), select=["TRK706"])
    assert found.details == ("unused",)


# -- select, ignore ---------------------------------------------------------------------------------------------------


def test_select_and_ignore() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = AdamW(model.parameters())
    assert tricklint.check_model(model, optimizer).codes() == ["TRK501", "TRK601"]
    assert tricklint.check_model(model, optimizer, select=["TRK6"]).codes() == ["TRK601"]
    assert tricklint.check_model(model, optimizer, select="decay-on-bias-norm").codes() == ["TRK601"]
    assert not tricklint.check_model(model, optimizer, ignore=["TRK601", "missing-init"])
    assert not tricklint.check_model(model, optimizer, select=["iterrows-loop"])  # a rule about source
    with pytest.raises(ValueError, match=r"no rule is called 'mising-init' \(did you mean 'missing-init'\?\)"):
        tricklint.check_model(model, ignore=["mising-init"])


# -- wrappers ---------------------------------------------------------------------------------------------------------


def large() -> nn.Module:
    """100 million parameters."""
    with torch.device("cpu"):
        layers = [layer for _ in range(24) for layer in (nn.Linear(2048, 2048), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(2048, 10))


@pytest.fixture
def process_group() -> Iterator[None]:
    import torch.distributed as dist

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29571")
    dist.init_process_group("gloo", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def _sharded(model: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    return model


def _in_place(model: nn.Module) -> nn.Module:
    model.compile()
    return model


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda model: model,
    "compiled": lambda model: torch.compile(model),  # type: ignore[dict-item]
    "compiled in place": _in_place,
    "data parallel": nn.DataParallel,
    "ddp": nn.parallel.DistributedDataParallel,
    "ddp, compiled": lambda model: torch.compile(nn.parallel.DistributedDataParallel(model)),  # type: ignore[dict-item]
    "fsdp": _sharded,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_models_are_answered_soon_and_in_silence(
    wrapper: str, process_group: None, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    model = WRAPPERS[wrapper](large())
    optimizer = SGD(model.parameters(), 0.1, weight_decay=1e-4)
    recwarn.clear()
    capfd.readouterr()
    before = time.process_time()
    found = tricklint.check_model(model, optimizer)
    seconds = time.process_time() - before
    assert found.codes() == ["TRK501", "TRK601"]
    assert found.facts.total == 100_732_938
    assert seconds <= 2
    assert [str(warning.message) for warning in recwarn] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["quantised", "script"])
def test_what_cannot_be_looked_into_says_so(kind: str) -> None:
    model: nn.Module
    if kind == "script":
        model, words = torch.jit.script(nn.Sequential(nn.Linear(4, 4))), "TorchScript"
    else:
        net = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
        model, words = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}), "quantised layers (0 …)"
    found = tricklint.check_model(model)
    assert not found
    assert words in repr(found)


def test_without_torch_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    users = ("import tricklint; tricklint.check_model", "from tricklint import surgery", "import tricklint.surgery",
             "from tricklint.surgery import freeze_backbone")  # fmt: skip
    for code in users:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        last = done.stderr.strip().splitlines()[-1]
        assert last.endswith("needs torch: pip install 'tricklint[trace]'"), done.stderr
        assert last.startswith("ImportError: tricklint.")


def test_the_package_itself_needs_no_torch() -> None:
    code = "import sys, tricklint; assert {'check_model', 'surgery'} <= set(dir(tricklint)); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
