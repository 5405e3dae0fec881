"""Layers of torch.nn: which hold weight matrices, which are norms, which are activations.

Source: the torch.nn reference (https://docs.pytorch.org/docs/stable/nn.html), torch 2.2 to 2.13.
"""

from __future__ import annotations

NN = "torch.nn."
LINEAR = frozenset(NN + n for n in ("Linear", "LazyLinear", "Bilinear"))
CONV = frozenset(
    NN + lazy + n + d for n in ("Conv", "ConvTranspose") for d in ("1d", "2d", "3d") for lazy in ("", "Lazy")
)
WEIGHTED = LINEAR | CONV  # the layers whose default init TRK501 speaks about
RECURRENT = frozenset(NN + n for n in ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"))
ATTENTION = frozenset(
    NN + n
    for n in (
        "MultiheadAttention", "Transformer", "TransformerEncoder", "TransformerDecoder", "TransformerEncoderLayer",
        "TransformerDecoderLayer",
    )
)  # fmt: skip
EMBEDDING = frozenset((NN + "Embedding", NN + "EmbeddingBag"))
BATCH_NORM = frozenset(
    [NN + lazy + "BatchNorm" + d for d in ("1d", "2d", "3d") for lazy in ("", "Lazy")] + [NN + "SyncBatchNorm"]
)
NORM = BATCH_NORM | frozenset(
    [NN + "LayerNorm", NN + "GroupNorm", NN + "RMSNorm", NN + "LocalResponseNorm"]
    + [NN + "InstanceNorm" + d for d in ("1d", "2d", "3d")]
)
# hold parameters, and no modules
LEAVES = WEIGHTED | RECURRENT | EMBEDDING | NORM | {NN + "PReLU"}
AFFINE_NORM = NORM - {NN + "LocalResponseNorm"}
DROPOUT = frozenset(
    NN + n for n in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
)
RELU_FAMILY = {
    "ReLU": "relu", "ReLU6": "relu", "LeakyReLU": "leaky_relu", "PReLU": "leaky_relu", "RReLU": "leaky_relu",
    "ELU": "relu", "CELU": "relu", "SELU": "selu", "GELU": "relu", "SiLU": "relu", "Mish": "relu", "Hardswish": "relu",
    "Softplus": "relu",
}  # fmt: skip
SATURATING = {"Tanh": "tanh", "Sigmoid": "sigmoid", "Hardtanh": "tanh", "Hardsigmoid": "sigmoid", "Tanhshrink": "tanh",
              "Softsign": "tanh", "LogSigmoid": "sigmoid"}  # fmt: skip
ACTIVATIONS = {NN + k: v for k, v in {**RELU_FAMILY, **SATURATING}.items()}
SOFTMAX = {NN + "Softmax": "softmax", NN + "LogSoftmax": "log_softmax", NN + "Softmax2d": "softmax"}
# Layers that hand a tensor through without changing which layer is "the one before"
PASSIVE = frozenset(
    NN + n
    for n in (
        "Identity", "Flatten", "Unflatten", "MaxPool1d", "MaxPool2d", "MaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
        "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
        "AdaptiveMaxPool3d", "Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d", "PixelShuffle", "PixelUnshuffle",
        "ZeroPad2d", "ReflectionPad1d", "ReflectionPad2d", "ReplicationPad2d", "ConstantPad1d", "ConstantPad2d", "Fold",
        "Unfold", "ChannelShuffle", "MaxUnpool2d",
    )
)  # fmt: skip
CONTAINERS = frozenset(NN + n for n in ("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"))
WRAPPERS = frozenset(
    (
        "torch.nn.DataParallel", "torch.nn.parallel.DataParallel", "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.parallel.distributed.DistributedDataParallel", "apex.parallel.DistributedDataParallel",
        "torch.compile", "torch.jit.script", "torch.distributed.fsdp.FullyShardedDataParallel",
        "torch.nn.SyncBatchNorm.convert_sync_batchnorm", "apex.parallel.convert_syncbn_model", "torch._dynamo.optimize",
        "opacus.validators.ModuleValidator.fix", "ipex.optimize", "copy.deepcopy", "copy.copy",
        "torch.nn.utils.spectral_norm", "torch.nn.utils.weight_norm", "torch.nn.utils.parametrizations.spectral_norm",
        "torch.nn.utils.parametrizations.weight_norm", "torch.nn.utils.fusion.fuse_conv_bn_eval",
        "torchvision.models.feature_extraction.create_feature_extractor",
        "torchvision.models._utils.IntermediateLayerGetter",
    )
)  # fmt: skip
LOSSES = {
    NN + "CrossEntropyLoss": "cross_entropy", NN + "BCEWithLogitsLoss": "bce_logits", NN + "BCELoss": "bce",
    NN + "NLLLoss": "nll", NN + "NLLLoss2d": "nll", NN + "MultiLabelSoftMarginLoss": "bce_logits",
    NN + "MSELoss": "mse", NN + "L1Loss": "l1", NN + "SmoothL1Loss": "l1", NN + "HuberLoss": "l1",
    NN + "KLDivLoss": "kl", NN + "TripletMarginLoss": "metric", NN + "CosineEmbeddingLoss": "metric",
    NN + "MarginRankingLoss": "metric", NN + "MultiMarginLoss": "margin", NN + "CTCLoss": "ctc",
    NN + "GaussianNLLLoss": "mse", NN + "PoissonNLLLoss": "mse", NN + "HingeEmbeddingLoss": "metric",
    NN + "MultiLabelMarginLoss": "margin", NN + "SoftMarginLoss": "margin",
    "timm.loss.LabelSmoothingCrossEntropy": "cross_entropy", "timm.loss.SoftTargetCrossEntropy": "cross_entropy",
    "monai.losses.FocalLoss": "focal", "monai.losses.focal_loss.FocalLoss": "focal", "monai.losses.DiceFocalLoss": "focal",
    "kornia.losses.FocalLoss": "focal_softmax", "kornia.losses.BinaryFocalLossWithLogits": "focal",
    "timm.loss.BinaryCrossEntropy": "bce_logits",
    "segmentation_models_pytorch.losses.SoftBCEWithLogitsLoss": "bce_logits",
    "segmentation_models_pytorch.losses.soft_bce.SoftBCEWithLogitsLoss": "bce_logits",
    "segmentation_models_pytorch.losses.SoftCrossEntropyLoss": "cross_entropy",
    "segmentation_models_pytorch.losses.soft_ce.SoftCrossEntropyLoss": "cross_entropy",
    "segmentation_models_pytorch.losses.FocalLoss": "focal", "segmentation_models_pytorch.losses.focal.FocalLoss": "focal",
}  # fmt: skip
LOSS_FUNCTIONS = {
    "torch.nn.functional.cross_entropy": "cross_entropy",
    "torch.nn.functional.binary_cross_entropy_with_logits": "bce_logits",
    "torch.nn.functional.binary_cross_entropy": "bce",
    "torch.nn.functional.nll_loss": "nll",
    "torch.nn.functional.mse_loss": "mse",
    "torch.nn.functional.l1_loss": "l1",
    "torch.nn.functional.smooth_l1_loss": "l1",
    "torch.nn.functional.kl_div": "kl",
    "torchvision.ops.sigmoid_focal_loss": "focal",
    "torchvision.ops.focal_loss.sigmoid_focal_loss": "focal",
    "kornia.losses.focal_loss": "focal_softmax",
    "kornia.losses.focal.focal_loss": "focal_softmax",
    "kornia.losses.binary_focal_loss_with_logits": "focal",
    "kornia.losses.focal.binary_focal_loss_with_logits": "focal",
    "monai.losses.focal_loss.sigmoid_focal_loss": "focal",
}
# Tensor operations whose result carries no gradient, whatever goes in
INTEGER_OPS = frozenset((
    "argmax", "argmin", "argsort", "eq", "ne", "gt", "ge", "lt", "le", "equal", "isnan", "isinf", "isfinite", "long", "int",
    "bool", "byte", "short", "nonzero", "bincount", "zeros_like", "ones_like", "rand_like", "randn_like", "full_like",
    "new_zeros", "new_ones", "multinomial", "bernoulli", "empty_like", "logical_and", "logical_or", "logical_not",
))  # fmt: skip
# Operations that give a pair of values and their indices (when a dimension is named)
VALUES_AND_INDICES = frozenset(("max", "min", "topk", "sort", "kthvalue", "median", "mode", "cummax", "cummin"))
OUT_FEATURES = {**dict.fromkeys(LINEAR, 1), **dict.fromkeys(CONV, 1), NN + "Bilinear": 2, NN + "LazyLinear": 0}


def is_module_name(name: str) -> bool:
    """A class of torch.nn that is an nn.Module (its names are capitalised, its functions not)."""
    tail = name[len(NN) :]
    return (
        name.startswith(NN) and "." not in tail and tail[:1].isupper() and tail not in ("Parameter", "Module", "Buffer")
    )

# Layers with dropout of their own: where its rate stands among the arguments, and whether it is above 0 by default
OWN_DROPOUT = {
    "torch.nn.Transformer": (5, True),
    "torch.nn.TransformerEncoderLayer": (3, True),
    "torch.nn.TransformerDecoderLayer": (3, True),
    "torch.nn.MultiheadAttention": (2, False),
    "torch.nn.LSTM": (5, False),
    "torch.nn.GRU": (5, False),
    "torch.nn.RNN": (6, False),
}
# Stacks that copy the layer they are given
LAYERS_IN_COPIES = frozenset(("torch.nn.TransformerEncoder", "torch.nn.TransformerDecoder"))
