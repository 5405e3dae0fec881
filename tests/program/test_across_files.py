"""Values through functions, classes and files: the model built here, frozen there, optimised somewhere else."""

from __future__ import annotations

from pathlib import Path

from tricklint.interpreter.events import Built
from tricklint.interpreter.values import (
    Class,
    Instance,
    Ref,
)
from tricklint.libraries.events import Froze, GradsCleared, LossComputed, OptimizerBuilt, Stepped, TrainerGiven
from tricklint.libraries.facts import ModuleFacts, OptimizerFacts
from tricklint.libraries.paramsets import roots_of
from tricklint.program.slots import picks_anywhere, slots

MODELS = """
    import torch.nn as nn

    class Backbone(nn.Module):
        def __init__(self, width=8):
            super().__init__()
            self.conv = nn.Conv2d(3, width, 3)
            self.norm = nn.BatchNorm2d(width)

        def forward(self, x):
            return self.norm(self.conv(x)).mean((2, 3))

    class Net(nn.Module):
        def __init__(self, n_classes=10):
            super().__init__()
            self.backbone = Backbone()
            self.head = nn.Linear(8, n_classes)

        def forward(self, x):
            return self.head(self.backbone(x))
"""
UTILS = """
    def freeze(module):
        for param in module.parameters():
            param.requires_grad = False

    def trainable(model):
        return filter(lambda p: p.requires_grad, model.parameters())
"""


def label(value: object) -> str:
    assert isinstance(value, Instance)
    return value.label


def frozen_paths(program) -> set[str]:
    """Names of the optimised model's parameters that a certain freeze reaches."""
    root = roots_of(program.events(OptimizerBuilt)[-1].subject.fact(OptimizerFacts).params)[0]
    return {
        slot.path
        for slot in slots(root)
        for event in program.events(Froze)
        if event.sure and event.value is False and picks_anywhere(event.subject, slot)
    }


def test_model_frozen_and_optimised_in_three_files(program):
    train = """
        import torch
        from models import Net
        from utils import freeze, trainable

        def main():
            model = Net()
            freeze(model.backbone)
            return torch.optim.Adam(trainable(model), lr=1e-3)

        if __name__ == "__main__":
            main()
    """
    found = program({"train.py": train, "models.py": MODELS, "utils.py": UTILS})
    optimizer = found.events(OptimizerBuilt)[0]
    assert [label(root) for root in roots_of(optimizer.subject.fact(OptimizerFacts).params)] == ["Net"]
    assert frozen_paths(found) == {
        "backbone.conv.weight",
        "backbone.conv.bias",
        "backbone.norm.weight",
        "backbone.norm.bias",
    }


def test_packages_relative_imports_and_aliases(program):
    files = {
        "project/__init__.py": "",
        "project/nets/__init__.py": "from .models import Net as Network\n",
        "project/nets/models.py": MODELS,
        "project/train.py": """
            import torch
            from . import nets
            from .nets import Network

            optimizer = torch.optim.SGD(nets.Network(3).parameters(), lr=0.1)
            other = torch.optim.SGD(Network().parameters(), lr=0.1)
        """,
    }
    events = program(files).events(OptimizerBuilt)
    assert [label(roots_of(event.subject.fact(OptimizerFacts).params)[0]) for event in events] == ["Net", "Net"]


def test_model_by_name(program):
    train = """
        import argparse
        import torch
        import models

        parser = argparse.ArgumentParser()
        parser.add_argument("--arch", default="Net")
        args = parser.parse_args()
        model = getattr(models, args.arch)()
        same = models.__dict__[args.arch]()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        second = torch.optim.SGD(same.parameters(), lr=0.1)
    """
    events = program({"train.py": train, "models.py": MODELS}).events(OptimizerBuilt)
    assert [label(roots_of(event.subject.fact(OptimizerFacts).params)[0]) for event in events] == ["Net", "Net"]


def test_library_model_by_name(program):
    text = "from torchvision import models\nname = 'resnet18'\nnet = getattr(models, name)(pretrained=True)\n"
    built = program(text).events(Built)[0].subject
    assert built.library == "torchvision.models.resnet18" and built.fact(ModuleFacts).pretrained is True


def test_wrappers_are_their_model(program):
    text = """
        import torch
        import torch.nn as nn
        from models import Net

        model = Net().cuda()
        model = nn.DataParallel(model)
        model = torch.compile(model)
        torch.optim.SGD(model.module.head.parameters(), lr=0.1)
        torch.optim.SGD(model.parameters(), lr=0.1)
    """
    events = program({"train.py": text, "models.py": MODELS}).events(OptimizerBuilt)
    assert [label(roots_of(event.subject.fact(OptimizerFacts).params)[0]) for event in events] == ["Linear", "Net"]


def test_loops_over_named_parameters(program):
    text = """
        import torch
        from models import Net

        model = Net()
        for name, param in model.named_parameters():
            if "head" not in name:
                param.requires_grad = False
        for name, param in model.named_parameters():
            if name.endswith("norm.bias"):
                param.requires_grad_(True)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    """
    found = program({"train.py": text, "models.py": MODELS})
    assert frozen_paths(found) == {
        "backbone.conv.weight",
        "backbone.conv.bias",
        "backbone.norm.weight",
        "backbone.norm.bias",
    }
    root = roots_of(found.events(OptimizerBuilt)[0].subject.fact(OptimizerFacts).params)[0]
    thawed = found.events(Froze)[-1].subject
    assert [slot.path for slot in slots(root) if picks_anywhere(thawed, slot)] == ["backbone.norm.bias"]


def test_trainer_class_of_the_program(program):
    text = """
        import torch
        from models import Net

        class Trainer:
            def __init__(self, model, lr=0.1):
                self.model = model
                self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr, weight_decay=5e-4)

            def fit(self, loader):
                for x, y in loader:
                    self.optimizer.zero_grad()
                    torch.nn.functional.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()

        Trainer(Net()).fit(torch.utils.data.DataLoader(data))
    """
    found = program({"train.py": text, "models.py": MODELS})
    optimizer = found.events(OptimizerBuilt)[0].subject
    assert [label(root) for root in roots_of(optimizer.fact(OptimizerFacts).params)] == ["Net"]
    assert found.events(Stepped)[0].subject is optimizer
    assert found.events(GradsCleared)[0].subject is optimizer
    assert len(found.events(Stepped)[0].loops) == 1
    assert {type(module.cls) for module, _ in found.trained.values()} >= {Class}


def test_lightning_module(program):
    text = """
        import torch
        import pytorch_lightning as pl
        from models import Net

        class Lit(pl.LightningModule):
            def __init__(self, lr=1e-3):
                super().__init__()
                self.save_hyperparameters()
                self.net = Net()

            def training_step(self, batch, batch_idx):
                x, y = batch
                return torch.nn.functional.cross_entropy(self.net(x), y)

            def validation_step(self, batch, batch_idx):
                x, y = batch
                self.log("loss", torch.nn.functional.cross_entropy(self.net(x), y))

            def configure_optimizers(self):
                return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)

        pl.Trainer(max_epochs=1).fit(Lit(), torch.utils.data.DataLoader(data))
    """
    found = program({"train.py": text, "models.py": MODELS})
    optimizer = found.events(OptimizerBuilt)[0].subject
    assert label(roots_of(optimizer.fact(OptimizerFacts).params)[0]) == "Lit"
    assert optimizer.fact(OptimizerFacts).options["lr"].value == 1e-3
    training, validation = found.events(LossComputed)
    assert training.grad is True and validation.grad is False


def test_functions_that_nobody_calls_are_entries_of_their_own(program):
    text = """
        import torch
        from models import Net

        def train(loader, lr):
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
            for x, y in loader:
                torch.nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
    """
    found = program({"train.py": text, "models.py": MODELS})
    assert [Path(event.entry).name for event in found.events(OptimizerBuilt)] == ["train.py: train"]
    assert len(found.events(Stepped)) == 1


def test_of_unknown_models_their_use_tells_no_more_than_that_they_are_models(program):
    text = """
        import torch
        from elsewhere import build_model

        model = build_model()
        for p in model.parameters():
            p.requires_grad = False
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    """
    found = program(text)
    roots = roots_of(found.events(OptimizerBuilt)[0].subject.fact(OptimizerFacts).params)
    assert [root.fact(ModuleFacts).guessed for root in roots] == [True]
    assert found.trained_models() == []


def test_recursion_and_cyclic_imports_end(program):
    files = {
        "a.py": "import torch\nimport b\n\ndef f(n):\n    return b.g(n - 1)\n",
        "b.py": "import torch\nimport a\n\ndef g(n):\n    return a.f(n) if n else torch.nn.Linear(1, 1)\n\ng(5)\n",
    }
    found = program(files)
    assert found.crashes == []


def test_modules_appended_in_a_loop(program):
    text = """
        import torch
        import torch.nn as nn

        class Deep(nn.Module):
            def __init__(self, sizes=(4, 8, 2)):
                super().__init__()
                layers = []
                for n_in, n_out in zip(sizes[:-1], sizes[1:]):
                    layers += [nn.Linear(n_in, n_out), nn.ReLU()]
                self.body = nn.Sequential(*layers)
                self.extra = nn.ModuleList()
                for _ in range(2):
                    self.extra.append(nn.LayerNorm(2))

            def forward(self, x):
                return self.body(x)

        optimizer = torch.optim.SGD(Deep().parameters(), lr=0.1)
    """
    root = roots_of(program(text).events(OptimizerBuilt)[0].subject.fact(OptimizerFacts).params)[0]
    paths = [slot.path for slot in slots(root)]
    assert paths[:4] == ["body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"]
    assert "extra.0.weight" in paths


def test_a_frameworks_own_repository_is_known_by_its_names(program):
    script = """
        from transformers.modeling_utils import PreTrainedModel
        from transformers import Trainer

        model = PreTrainedModel.from_pretrained("x")
        Trainer(model=model).train()
    """
    inside = {
        "train.py": script,
        "transformers/__init__.py": "from .modeling_utils import PreTrainedModel\nfrom .trainer import Trainer\n",
        "transformers/modeling_utils.py": "class PreTrainedModel:\n    pass\n",
        "transformers/trainer.py": "class Trainer:\n    pass\n",
    }
    found = program(inside)
    names = found.project.module(next(path for path in found.roots if path.name == "train.py")).names
    assert names["Trainer"] == Ref("transformers.Trainer")
    assert names["PreTrainedModel"] == Ref("transformers.PreTrainedModel")
    assert found.events(TrainerGiven)


def test_a_folder_with_a_frameworks_name_is_the_programs_own(program):
    found = program(
        {
            "train.py": "from fastai import Trainer\nmade = Trainer()\n",
            "fastai/__init__.py": "class Trainer:\n    pass\n",
        }
    )
    names = found.project.module(next(path for path in found.roots if path.name == "train.py")).names
    assert isinstance(names["Trainer"], Class)
