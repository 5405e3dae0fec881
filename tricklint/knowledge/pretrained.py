"""Constructors that give a model pretrained weights, and what says so in their arguments.

Sources: torchvision.models, timm, transformers, segmentation_models_pytorch, efficientnet_pytorch, pretrainedmodels, monai.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PretrainedRow:
    """flags: arguments that load weights when true or named; positions: where `pretrained` stands; always: no flag needed;
    head: arguments that replace the head when given; vision: images with the weights' own mean and std."""

    flags: tuple[str, ...] = ()
    position: int | None = None
    always: bool = False
    default_on: bool | None = False  # None: not known
    head: tuple[str, ...] = ()
    family: str = ""
    vision: bool = True
    backbone: tuple[str, ...] = ()  # what asks for weights of the backbone alone, which it has where nobody says otherwise


FLAGS = ("pretrained", "weights", "encoder_weights")  # what asks for weights, whatever the library
TORCHVISION_TASKS = ("torchvision.models.segmentation.", "torchvision.models.detection.")
# A row of None: what stands below that name is no model
_TABLE: tuple[tuple[str, PretrainedRow | None], ...] = (
    ("torchvision.models.segmentation.", PretrainedRow(
        ("pretrained", "weights"), 0, family="torchvision", head=(), backbone=("weights_backbone", "pretrained_backbone"))),
    ("torchvision.models.detection.", PretrainedRow(("pretrained", "weights"), 0, family="torchvision", head=(), vision=False)),
    ("torchvision.models.get_model", PretrainedRow(("weights",), None, family="torchvision")),  # of a name that is not known
    ("torchvision.models.video.", PretrainedRow(("pretrained", "weights"), 0, family="torchvision")),
    ("torchvision.models.", PretrainedRow(("pretrained", "weights"), 0, family="torchvision")),
    ("timm.create_model", PretrainedRow(("pretrained",), 1, family="timm", head=("num_classes",))),
    ("timm.models.create_model", PretrainedRow(("pretrained",), 1, family="timm", head=("num_classes",))),
    ("timm.models.factory.create_model", PretrainedRow(("pretrained",), 1, family="timm", head=("num_classes",))),
    ("timm.models.", PretrainedRow(("pretrained",), 0, family="timm", head=("num_classes",))),
    ("torch.hub.load", PretrainedRow(("pretrained", "weights"), None, family="hub")),
    ("segmentation_models_pytorch.encoders.get_encoder", PretrainedRow(("weights",), 3, family="smp encoder")),
    *((f"segmentation_models_pytorch.{package}.", None) for package in ("encoders", "base", "losses", "utils", "metrics", "datasets")),
    ("segmentation_models_pytorch.", PretrainedRow(
        ("encoder_weights",), None, family="smp", head=("classes", "encoder_name"), default_on=True)),
    ("efficientnet_pytorch.EfficientNet.from_pretrained", PretrainedRow(
        always=True, family="efficientnet", head=("num_classes",))),
    ("pretrainedmodels.__dict__", PretrainedRow(("pretrained",), None, family="cadene", default_on=True)),
    ("pretrainedmodels.", PretrainedRow(("pretrained",), 1, family="cadene", default_on=True)),
    ("monai.networks.nets.", PretrainedRow(("pretrained",), None, family="monai", vision=False)),
)  # fmt: skip
_NOT_MODELS = (
    "list_models",
    "get_weight",
    "_Weights",
    "get_model_weights",
    "list_modules",
    "transforms",
    "helpers",
    "IntermediateLayerGetter",
    "model_parameters",
    "layers.",
    "registry",
    "load_checkpoint",
    "is_model",
    "list_pretrained",
    ".decoder.",
)
TASK_AUTO = "transformers."


_OF_TASKS = {
    "segmentation": ("deeplabv3", "fcn_", "lraspp"),
    "detection": ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "ssd", "fcos"),
    "video": ("r3d_", "mc3_", "r2plus1d_", "mvit_", "s3d", "swin3d_"),
}


def torchvision_builder(name: str) -> str:
    """The function that `torchvision.models.get_model(name)` calls."""
    name = name.lower()
    task = next((task for task, begins in _OF_TASKS.items() if name.startswith(begins)), "")
    return f"torchvision.models.{task}.{name}" if task else f"torchvision.models.{name}"


def row_of(name: str) -> PretrainedRow | None:
    """The row for a constructor's dotted name, or None when it builds no pretrained model."""
    if name.endswith(".from_pretrained"):
        owner = name.rpartition(".")[0].rpartition(".")[2]
        if name.startswith("efficientnet_pytorch."):  # also by its submodule: efficientnet_pytorch.model.EfficientNet
            return _by_prefix("efficientnet_pytorch.EfficientNet.from_pretrained")
        if not transformer_model(owner):
            return None
        return PretrainedRow(always=True, family="transformers", vision=False, head=())
    if name.endswith(("_Weights", "_weights")) or any(part in name for part in _NOT_MODELS):
        return None
    return _by_prefix(name)


def _by_prefix(name: str) -> PretrainedRow | None:
    for prefix, row in _TABLE:
        if row is None:
            if name.startswith(prefix):
                return None
        elif name == prefix or (prefix.endswith(".") and name.startswith(prefix) and len(name) > len(prefix)):
            tail = name[len(prefix) :]
            if prefix.endswith(".") and "." in tail and not tail.split(".")[-1][:1].isalpha():
                return None
            if tail.rpartition(".")[2][:1].isupper() and row.family in ("torchvision", "timm", "cadene"):
                return replace(
                    row, flags=(), position=None, default_on=False
                )  # the class itself: `resnet.ResNet(block, layers)`
            if tail.startswith("_") and row.family == "torchvision":
                return replace(row, position=None, default_on=None)  # its own `_resnet(…)`: where weights stand has changed
            return row
    return None


# Classes of transformers and diffusers that hold no net
BESIDE_MODELS = ("Tokenizer", "Config", "Processor", "FeatureExtractor", "Scheduler")


def transformer_model(owner: str) -> bool:
    """`BertModel`, `AutoModelForX` build models; `BertTokenizer`, `AutoConfig` do not."""
    if any(word in owner for word in (*BESIDE_MODELS, "Pipeline")):
        return False
    if owner.startswith(("TF", "Flax")):  # TensorFlow's and JAX's
        return False
    return "Model" in owner or "For" in owner or owner.endswith(("Encoder", "Decoder", "Transformer"))


def transformer_has_new_head(owner: str) -> bool:
    """Classes whose head is new when loaded from a plain checkpoint."""
    return any(word in owner for word in ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
                                          "ForMultipleChoice", "ForImageClassification", "ForAudioClassification"))  # fmt: skip


HEAD_NAMES = frozenset((
    "fc", "classifier", "head", "heads", "last_linear", "_fc", "AuxLogits", "output", "top", "dense", "logits", "fc_out",
    "classification_head", "linear", "segmentation_head", "roi_heads", "aux_classifier", "fc8", "head_drop", "final",
    "output_layer", "out", "proj", "_classifier", "cls",
))  # fmt: skip
