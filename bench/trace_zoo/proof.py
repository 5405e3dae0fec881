"""What the facts say, held against real forwards and backwards; and surgery on the same models."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tricklint.trace.client import Worker
from tricklint.trace.facts import ModelFacts
from tricklint.trace.inputs import make
from tricklint.trace.recorder import named_tensors
from tricklint.trace.targets import Target
from tricklint.trace.worker import torchvision_ops

from .zoo import targets

CHOSEN = (
    "resnet18 vgg11 mobilenet_v2 mobilenet_v3_small squeezenet1_0 googlenet densenet121 shufflenet_v2_x1_0 vit_b_16"
    " swin_t"
    " efficientnet_b0 lraspp_mobilenet_v3_large r3d_18"
    " seresnet50 convnext_atto vit_tiny_patch16_224 mixer_s16_224 poolformer_s12 ghostnet_100 levit_128s"
    " xcit_nano_12_p16_224"
    " Unet/resnet18 DeepLabV3Plus/resnet18 UNet SegResNet DynUNet DenseNet121"
    " BertForSequenceClassification BertModel GPT2LMHeadModel LlamaForCausalLM T5ForConditionalGeneration"
    " ViTForImageClassification Wav2Vec2ForSequenceClassification AlbertForSequenceClassification"
    " LeNet CifarResNet UNet2d LSTMClassifier VAE PartlyUsed TinyGPT SwiGLUNet WideAndDeep SpectralNet CosineNet"
).split()
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
torchvision_ops.declare()  # where the compiled operators do not load


def chosen() -> list[tuple[str, Target]]:
    return [(library, target) for library, target in targets() if target.name in CHOSEN and _there(library)]


def _there(library: str) -> bool:
    from importlib.util import find_spec

    package = {"smp": "segmentation_models_pytorch", "plain": "torch"}.get(library, library)
    return find_spec(package) is not None


def build(target: Target) -> nn.Module:
    where, _, name = target.factory.rpartition(":")
    module = importlib.import_module(Path(where).stem if where.endswith(".py") else where)
    torch.manual_seed(0)
    made: nn.Module = getattr(module, name)(*target.args, **target.kwargs)
    return made


def feed(facts: ModelFacts) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = [], {}
    for fact in facts.inputs:
        value = make(fact.shape, getattr(torch, fact.dtype), "cpu")
        if fact.name.startswith("input "):
            args.append(value)
        else:
            kwargs[fact.name] = value
    return args, kwargs


def run(model: nn.Module, facts: ModelFacts) -> Any:
    args, kwargs = feed(facts)
    extra = {"use_cache": False} if hasattr(model, "config") and "decoder_input_ids" in kwargs else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(*args, **kwargs, **extra)


# -- truth: what a real autograd graph shows


_ACTIVATIONS = {
    "Relu": "relu", "Threshold": "relu", "Gelu": "gelu", "Silu": "silu", "Hardtanh": "relu6", "Sigmoid": "sigmoid",
    "Tanh": "tanh", "Hardswish": "hardswish", "LeakyRelu": "leaky_relu", "Elu": "elu", "Mish": "mish",
    "Softplus": "softplus", "PreluKernel": "prelu", "Hardsigmoid": "hardsigmoid", "Erf": "gelu",
    "LogSigmoid": "sigmoid",
}  # fmt: skip
_STOP = ("Addmm", "Mm", "Convolution", "Bmm", "Baddbmm", "ScaledDotProduct", "NativeMulti", "Embedding", "Cudnn",
         "Mkldnn", "LinalgVectorNorm", "Softmax", "LogSoftmax", "Slow", "Index", "Rnn", "Lstm")  # fmt: skip


def _kind(function: Any) -> str:
    name = type(function).__name__.split("Backward")[0]
    return name.removesuffix("_")


class Autograd:
    """The graph below some outputs: functions, who uses whom, which weights enter where."""

    def __init__(self, model: nn.Module, outputs: list[torch.Tensor]) -> None:
        names = {id(p): n for n, p in model.named_parameters()}
        self.users: dict[Any, list[Any]] = {}
        self.pure: dict[Any, bool] = {}
        self.weights: dict[Any, set[str]] = {}
        self.roots = [t.grad_fn for t in outputs if t.grad_fn is not None]
        stack, seen = list(self.roots), set(self.roots)
        while stack:
            function = stack.pop()
            for upper, _ in function.next_functions:
                if upper is None:
                    continue
                self.users.setdefault(upper, []).append(function)
                variable = getattr(upper, "variable", None)
                if variable is not None:
                    if id(variable) in names:
                        self._enter(function, names[id(variable)], variable.dim())
                elif upper not in seen:
                    seen.add(upper)
                    stack.append(upper)
        self.functions = seen
        for function in list(seen):  # a weight behind views (t(), reshape) enters where these end
            self._lift(function, names)

    def _enter(self, function: Any, name: str, dims: int) -> None:
        if dims >= 2:
            self.weights.setdefault(function, set()).add(name)

    def _lift(self, function: Any, names: dict[int, str]) -> None:
        if _kind(function) not in ("T", "Transpose", "Permute", "View", "Expand", "Unsqueeze", "ToCopy", "Alias"):
            return
        if not self._only_weights(function):
            return
        for name in self.weights.pop(function, set()):
            for user in self.users.get(function, []):
                self.weights.setdefault(user, set()).add(name)
                self._lift(user, names)

    def _only_weights(self, function: Any) -> bool:
        """Whether nothing but parameters flows into it; a short way up settles it for real signals."""
        if function not in self.pure:
            stack, seen, pure = [function], {function}, True
            while stack and pure:
                for upper, _ in stack.pop().next_functions:
                    if upper is None or hasattr(upper, "variable") or upper in seen:
                        continue
                    seen.add(upper)
                    stack.append(upper)
                    pure = len(seen) < 12
            self.pure[function] = pure
        return self.pure[function]

    def activation(self, function: Any) -> str:
        queue = deque(self.users.get(function, []))
        seen = set(queue)
        while queue:
            at = queue.popleft()
            kind = _kind(at)
            if kind in _ACTIVATIONS:
                return _ACTIVATIONS[kind]
            if kind == "CopySlices":
                return ""  # an in-place operation on a view: autograd hides which
            if kind.startswith(_STOP) or self.weights.get(at):
                continue
            live = [
                u
                for u, _ in at.next_functions
                if u is not None and not hasattr(u, "variable") and not self._only_weights(u)
            ]
            if kind in ("Mul", "Div") and len(set(live)) > 1:
                continue
            for user in self.users.get(at, []):
                if user not in seen:
                    seen.add(user)
                    queue.append(user)
        return "none"

    def frontier(self) -> set[str]:
        """The weights nearest to the outputs, on every way back."""
        found: set[str] = set()
        stack, seen = list(self.roots), set(self.roots)
        while stack:
            function = stack.pop()
            if self.weights.get(function):
                found |= self.weights[function]
                continue
            for upper, _ in function.next_functions:
                if upper is not None and upper not in seen:
                    seen.add(upper)
                    stack.append(upper)
        return found


_SAME = {("hardtanh", "relu6"), ("gelu", "tanh"), ("gelu", "none"), ("silu", "sigmoid"), ("hardswish", "hardsigmoid"),
         ("hardsigmoid", "relu6"), ("hardswish", "relu6")}  # fmt: skip


def truth() -> int:
    torch.set_num_threads(1)
    wrong = 0
    print(f"{'model':<36}{'kinds':>12}{'head':>7}{'unused':>10}{'activations':>14}  remarks")
    with Worker(HERE, python=sys.executable, keep=False, seconds=90, memory_mb=8192, signal="never") as worker:
        for _, target in chosen():
            facts = worker.trace(target)
            if not isinstance(facts, ModelFacts):
                print(f"{target.name:<36}{facts.message}")
                wrong += 1
                continue
            wrong += not _compare(target, facts)
    print(f"\n{wrong} of {len(chosen())} models disagree")
    return int(wrong > 0)


def _compare(target: Target, facts: ModelFacts) -> bool:
    model = build(target).train()
    output = run(model, facts)
    named = [(name, t) for name, t in named_tensors(output) if t.is_floating_point() and t.requires_grad]
    sum((t.float() * torch.randn_like(t.float())).sum() for _, t in named).backward(retain_graph=True)
    none = {n for n, p in model.named_parameters() if p.grad is None and p.requires_grad}
    said = {p.name for p in facts.unused}
    kinds_right, kinds_all, odd = _kinds(model, facts)
    main = [t for name, t in named if name in ("logits", "out") or name.startswith("aux")] or [t for _, t in named]
    graph = Autograd(model, main)
    heads = {h.path for h in facts.heads}
    near = graph.frontier()
    same = {id(p) for n, p in model.named_parameters() if n in near}
    nearest = {n.rpartition(".")[0] for n, p in model.named_parameters(remove_duplicate=False) if id(p) in same}
    head = bool(heads) and heads <= nearest if len(near) == 1 else heads <= nearest
    whole = Autograd(model, [t for _, t in named])
    at = {name: function for function, held in whole.weights.items() for name in held}
    right, checked, remarks = 0, 0, []
    for layer in facts.layers:
        if layer.weight not in at:
            continue
        seen = whole.activation(at[layer.weight])
        if not seen:
            continue
        checked += 1
        if seen == layer.activation or (layer.activation, seen) in _SAME:
            right += 1
        else:
            remarks.append(f"{layer.path}: said {layer.activation}, is {seen}")
    if said != none:
        remarks.insert(0, f"unused: said {sorted(said - none)[:3]}, missed {sorted(none - said)[:3]}")
    if not head:
        remarks.insert(0, f"head: said {sorted(heads)}, nearest {sorted(nearest)[:4]}")
    remarks += odd
    good = said == none and head and right == checked and kinds_right == kinds_all
    print(
        f"{target.name:<36}{f'{kinds_right}/{kinds_all}':>12}{'yes' if head else 'NO':>7}"
        f"{f'{len(said & none)}/{len(none)}':>10}"
        f"{f'{right}/{checked}':>14}  {'; '.join(remarks[:3])}",
        flush=True,
    )
    return good


def _kinds(model: nn.Module, facts: ModelFacts) -> tuple[int, int, list[str]]:
    """Kinds that PyTorch's own classes settle beyond doubt."""
    said = {p.name: p.kind for p in facts.parameters}
    right, total, odd = 0, 0, []
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            if full not in said:
                continue
            if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
                wanted = "bias" if name == "bias" else "matrix"
                if said[full] == "embedding" and any(
                    parameter is e.weight for e in model.modules() if isinstance(e, nn.Embedding)
                ):
                    wanted = "embedding"
            elif isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)):
                wanted = "norm"
            elif isinstance(module, nn.Embedding):
                wanted = "embedding"
            elif isinstance(module, nn.RNNBase):
                wanted = "bias" if "bias" in name else "matrix"
            else:
                continue
            total += 1
            if said[full] == wanted:
                right += 1
            else:
                odd.append(f"{full}: {said[full]}, is {wanted}")
    return right, total, odd


# -- surgery


def operate() -> int:
    import tricklint
    from tricklint import surgery

    torch.set_num_threads(1)
    bad = 0
    print(f"{'model':<36}{'init':>6}{'step':>8}{'freeze':>8}{'prior':>7}{'head':>6}{'step':>6}{'keys':>6}  remarks")
    done = 0
    for _, target in chosen():
        model = build(target)
        remarks: list[str] = []
        marks: dict[str, str] = {}
        before = list(model.state_dict())
        try:
            facts = tricklint.check_model(model, signal=False).facts
        except Exception as error:
            print(f"{target.name:<36}{type(error).__name__}: {error}")
            bad += 1
            continue

        def attempt(name: str, work: Any, marks: dict[str, str] = marks, remarks: list[str] = remarks) -> None:
            try:
                work()
                marks[name] = "yes"
            except surgery.SurgeryError as error:
                marks[name] = "no"  # refused, with its reason
                remarks.append(f"{error}")
            except Exception as error:
                marks[name] = "FAIL"
                remarks.append(f"{name}: {type(error).__name__}: {error}")

        def step(model: nn.Module = model, facts: ModelFacts = facts) -> None:
            groups = surgery.param_groups(model, 0.05)
            ids = [id(p) for g in groups for p in g["params"]]
            assert sorted(ids) == sorted({id(p) for p in model.parameters() if p.requires_grad}), "not exactly once"
            optimizer = torch.optim.AdamW(groups, lr=1e-4)
            model.train()
            loss = sum(
                t.float().pow(2).mean()
                for _, t in named_tensors(run(model, facts))
                if t.is_floating_point() and t.requires_grad
            )
            loss.backward()
            optimizer.step()
            found = tricklint.check_model(model, optimizer, signal=False)
            assert not {"TRK601", "TRK602"} & set(found.codes()), found

        def init(model: nn.Module = model) -> None:
            surgery.init_weights(model)
            found = tricklint.check_model(model, signal=False)
            assert not {"TRK501", "TRK502"} & set(found.codes()), found

        def freeze(model: nn.Module = model) -> None:
            surgery.freeze_backbone(model)
            surgery.freeze_norms(model)
            model.train()
            assert "TRK104" not in tricklint.check_model(model, signal=False).codes()
            optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
            surgery.unfreeze(model, optimizer, 0.01)
            assert all(p.requires_grad for p in model.parameters())
            held = [id(p) for g in optimizer.param_groups for p in g["params"]]
            assert sorted(held) == sorted({id(p) for p in model.parameters()})

        attempt("init", init)
        attempt("step", step)
        attempt("freeze", freeze)
        attempt("prior", lambda model=model: surgery.prior_bias(model, 0.01))
        kept = list(model.state_dict()) == before
        attempt("head", lambda model=model: surgery.normalize_head(model))
        attempt("step2", step)
        new = set(model.state_dict()) - set(before)
        keys = kept and set(before) <= set(model.state_dict()) and len(new) == (marks["head"] == "yes")
        good = keys and "FAIL" not in marks.values() and marks["init"] == marks["step"] == marks["step2"] == "yes"
        bad += not good
        done += 1
        print(
            f"{target.name:<36}{marks['init']:>6}{marks['step']:>8}{marks['freeze']:>8}{marks['prior']:>7}{marks['head']:>6}"
            f"{marks['step2']:>6}{'yes' if keys else 'NO':>6}  {'; '.join(r[:110] for r in remarks[:3])}",
            flush=True,
        )
    print(f"\n{bad} of {done} models went wrong (a refusal with its reason is not wrong)")
    return int(bad > 0)
