"""Names of operations → what they do to a signal. Torch-free; every rung of the ladder is read with this one table.

Keys are lower-case names without a trailing underscore: a module's class, a function, a Tensor method or an aten
operator (`torch.ops.aten.relu_.default` → `relu`). Kinds: linear conv recurrent attention embedding norm act softmax
drop pool shape resize add mul div matmul cat l2norm length exp root opaque input param const output size detach other.
"""

from __future__ import annotations

ACTIVATIONS: dict[str, str] = {
    "relu": "relu", "threshold": "relu", "relu6": "relu6", "clamp_min": "relu", "hardtanh": "hardtanh",
    "leakyrelu": "leaky_relu", "leaky_relu": "leaky_relu", "rrelu": "rrelu", "rrelu_with_noise": "rrelu",
    "prelu": "prelu", "elu": "elu", "celu": "celu", "selu": "selu",
    "gelu": "gelu", "erf": "gelu", "newgeluactivation": "gelu", "geluactivation": "gelu", "fastgeluactivation": "gelu",
    "quickgeluactivation": "gelu", "quickgelu": "gelu", "pytorchgelutanh": "gelu", "gelutanh": "gelu",
    "accurategeluactivation": "gelu", "clippedgeluactivation": "gelu", "laplaceactivation": "gelu",
    "silu": "silu", "siluactivation": "silu", "swish": "silu", "memoryefficientswish": "silu", "swishme": "silu",
    "mish": "mish", "mishactivation": "mish", "mishme": "mish",
    "hardswish": "hardswish", "hardswishme": "hardswish", "hswish": "hardswish", "h_swish": "hardswish",
    "hardsigmoid": "hardsigmoid", "hsigmoid": "hardsigmoid", "h_sigmoid": "hardsigmoid",
    "hardsigmoidme": "hardsigmoid", "tanh": "tanh", "hardshrink": "hardshrink", "tanhshrink": "tanhshrink",
    "sigmoid": "sigmoid", "logsigmoid": "sigmoid", "log_sigmoid": "sigmoid", "softplus": "softplus",
    "softsign": "softsign", "glu": "glu", "sin": "sin", "relusquaredactivation": "relu",
    "reluglu": "relu", "activation": "",
}  # fmt: skip

_KINDS: dict[str, str] = {
    "linear": "linear dynamicquantizablelinear nondynamicallyquantizablelinear conv1d_hf addmm mm_param bilinear"
    " lazylinear t5linear",
    "conv": "conv1d conv2d conv3d convtranspose1d convtranspose2d convtranspose3d conv_transpose1d conv_transpose2d"
    " conv_transpose3d convolution conv_tbc deform_conv2d thnn_conv2d conv2dsame conv2d_same stdconv2d stdconv2dsame"
    " scaledstdconv2d scaledstdconv2dsame mixedconv2d",
    "recurrent": "lstm gru rnn rnn_tanh rnn_relu lstmcell grucell rnncell lstm_cell gru_cell rnn_tanh_cell"
    " rnn_relu_cell",
    "attention": "multiheadattention multi_head_attention_forward scaled_dot_product_attention"
    " _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention"
    " _native_multi_head_attention",
    "embedding": "embedding embeddingbag embedding_bag",
    "norm": "batch_norm layer_norm group_norm instance_norm local_response_norm rms_norm native_layer_norm"
    " native_group_norm native_batch_norm _native_batch_norm_legit_functional _native_batch_norm_legit"
    " _native_batch_norm_legit_no_training batch_norm_with_update _batch_norm_with_update_functional"
    " _fused_rms_norm localresponsenorm",
    "softmax": "softmax _softmax log_softmax _log_softmax softmax2d softmin gumbel_softmax logsoftmax sparsemax",
    "drop": "dropout dropout1d dropout2d dropout3d native_dropout feature_dropout alpha_dropout droppath drop_path"
    " stochasticdepth stochastic_depth dropblock2d bernoulli featurealphadropout feature_alpha_dropout",
    "pool": "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d"
    " adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d"
    " adaptive_max_pool3d maxpool1d maxpool2d maxpool3d avgpool1d avgpool2d avgpool3d adaptiveavgpool1d"
    " adaptiveavgpool2d adaptiveavgpool3d adaptivemaxpool1d adaptivemaxpool2d adaptivemaxpool3d mean amax amin max"
    " sum lppool2d lp_pool2d max_pool2d_with_indices max_pool2d_with_indices_functional fractionalmaxpool2d"
    " logsumexp boolean_dispatch median cumsum max_unpool2d maxunpool2d",
    "shape": "view reshape flatten unflatten permute transpose t contiguous clone squeeze unsqueeze expand expand_as"
    " repeat repeat_interleave getitem __getitem__ select slice narrow chunk split split_with_sizes unbind movedim"
    " swapaxes to type float half double bfloat16 type_as identity roll tile view_as _unsafe_view unfold fold im2col"
    " col2im as_strided mt rearrange einops_rearrange copy index_select index gather alias _to_copy cuda cpu"
    " moveaxis tensor_split hsplit vsplit pixel_shuffle pixel_unshuffle pixelshuffle pixelunshuffle channel_shuffle"
    " channelshuffle lift_fresh_copy reshape_as flip take_along_dim real unsafe_chunk unsafe_split getattr"
    " masked_fill where nan_to_num masked_select scatter ravel atleast_2d requires_grad unsqueeze_copy",
    "resize": "interpolate upsample upsamplingbilinear2d upsamplingnearest2d upsample_bilinear2d upsample_nearest2d"
    " upsample_bicubic2d upsample_nearest3d upsample_trilinear3d pad constant_pad_nd zeropad2d reflectionpad2d"
    " replicationpad2d constantpad2d grid_sample grid_sampler_2d grid_sampler reflection_pad2d replication_pad2d"
    " constantpad1d constantpad3d reflectionpad1d zeropad1d blurpool2d",
    "add": "add sub iadd isub __add__ __radd__ __iadd__ __sub__ __rsub__ rsub __isub__ subtract add_bias addcmul",
    "mul": "mul multiply imul __mul__ __rmul__ __imul__",
    "div": "div truediv true_divide divide itruediv __truediv__ __rtruediv__ __itruediv__",
    "matmul": "matmul bmm mm einsum __matmul__ __rmatmul__ baddbmm mv dot tensordot chain_matmul cdist outer",
    "cat": "cat concat concatenate stack hstack vstack dstack",
    "l2norm": "normalize cosine_similarity cosinesimilarity l2norm",
    "length": "norm linalg_norm vector_norm linalg_vector_norm",
    "exp": "exp expm1",
    "root": "sqrt rsqrt pow square abs clamp maximum minimum clip",
    "size": "size dim numel ndim shape device dtype sym_size floordiv len is_cuda get_device stride",
    "detach": "detach data argmax argmin argsort bool long int topk_indices item numpy tolist eq ne gt lt ge le"
    " round floor sign ones_like zeros_like rand_like randn_like empty_like full_like new_zeros new_ones new_empty"
    " new_full new_tensor randint_like multinomial",
}  # fmt: skip

KINDS: dict[str, str] = {word: kind for kind, words in _KINDS.items() for word in words.split()}
_NORM_CLASSES = ("norm",)


def canonical(name: str) -> str:
    """`relu_` → `relu`, `Conv2d` → `conv2d`, `__add__` stays."""
    low = name.lower()
    return low if low.startswith("__") else low.rstrip("_") or low


def operation(name: str) -> tuple[str, str]:
    """(kind, detail) of a function, method or operator; detail names the activation or the softmax."""
    low = canonical(name)
    if ACTIVATIONS.get(low):
        return "act", ACTIVATIONS[low]
    kind = KINDS.get(low, "other")
    return kind, "log_softmax" if "log" in low and kind == "softmax" else kind if kind == "softmax" else ""


def activation_class(name: str) -> str:
    """The activation a module class of this name is (`NewGELUActivation` → `gelu`), or ''."""
    low = canonical(name)
    return ACTIVATIONS.get(low, "")


def module_class(name: str, is_norm: bool) -> tuple[str, str]:
    """(kind, detail) of a leaf module's class."""
    if is_norm:
        return "norm", ""
    kind, detail = operation(name)
    return kind, detail
