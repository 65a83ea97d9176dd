"""What the paper measured: rows of its Tables 7, 10 and 11, and how each network is built here.

Tan & Le, EfficientNetV2, ICML 2021 (arXiv 2104.00298v3). Inference: a V100, float16, batch 16,
milliseconds for the batch (Table 7) or images a second at batch 128 (Table 11). Training: hours
on 32 TPUv3 cores for a whole run; V2's runs are progressive.
"""

from typing import NamedTuple

from effnetv2.arch.presets import Sizes


class Published(NamedTuple):
    """One row of Table 7."""

    name: str
    build: str | None
    """A preset of ours, or what timm calls it; None for what nobody builds."""
    sizes: Sizes | None
    """Pixels in training and in evaluation; of presets, `arch.presets.SIZES` has them."""
    top1: float
    """Percent on ImageNet."""
    params: float
    """Millions."""
    macs: float | None
    """Billions of multiply-adds at the evaluation size, which the paper calls FLOPs."""
    infer_ms: float | None
    train_hours: float | None


def _at(train: int, evaluation: int | None = None) -> Sizes:
    return Sizes(train, evaluation or train)


_: None = None
# Sizes of others' networks: those of the published accuracy, as timm's configurations state them
# (TResNet, BiT: 448 and 480 px, as their papers fine-tune). Rows that differ from one here by
# pre-training alone, hence not in what a picture costs, are left out.
# fmt: off
#             name                build                    sizes         top-1 params macs ms  hours
TABLE_7 = (
    Published("EfficientNet-B3",  "v1-b3",                 _,             81.5,  12, 1.9,  19,  10),
    Published("EfficientNet-B4",  "v1-b4",                 _,             82.9,  19, 4.2,  30,  21),
    Published("EfficientNet-B5",  "v1-b5",                 _,             83.7,  30,  10,  60,  43),
    Published("EfficientNet-B6",  "v1-b6",                 _,             84.3,  43,  19,  97,  75),
    Published("EfficientNet-B7",  "v1-b7",                 _,             84.7,  66,  38, 170, 139),
    Published("RegNetY-8GF",      "regnety_080",           _at(224),      81.7,  39,   8,  21,   _),
    Published("RegNetY-16GF",     "regnety_160",           _at(224),      82.9,  84,  16,  32,   _),
    Published("ResNeSt-101",      "resnest101e",           _at(256),      83.0,  48,  13,  31,   _),
    Published("ResNeSt-200",      "resnest200e",           _at(320),      83.9,  70,  36,  76,   _),
    Published("ResNeSt-269",      "resnest269e",           _at(416),      84.5, 111,  78, 160,   _),
    Published("TResNet-L",        "tresnet_l",             _at(448),      83.8,  56,   _,  45,   _),
    Published("TResNet-XL",       "tresnet_xl",            _at(448),      84.3,  78,   _,  66,   _),
    Published("EfficientNet-X",   _,                       _,             84.7,  73,  91,   _,   _),
    Published("NFNet-F0",         "dm_nfnet_f0",           _at(192, 256), 83.6,  72,  12,  30, 8.9),
    Published("NFNet-F1",         "dm_nfnet_f1",           _at(224, 320), 84.7, 133,  36,  70,  20),
    Published("NFNet-F2",         "dm_nfnet_f2",           _at(256, 352), 85.1, 194,  63, 124,  36),
    Published("NFNet-F3",         "dm_nfnet_f3",           _at(320, 416), 85.7, 255, 115, 203,  65),
    Published("NFNet-F4",         "dm_nfnet_f4",           _at(384, 512), 85.9, 316, 215, 309, 126),
    Published("LambdaResNet-420", _,                       _,             84.9, 125,   _,   _,  67),
    Published("BotNet-T7",        _,                       _,             84.7,  75,  46,   _,  95),
    Published("BiT-M-R152x2",     "resnetv2_152x2_bit",    _at(480),      85.2, 236, 135, 500,   _),
    Published("ViT-B/32",         "vit_base_patch32_384",  _at(384),      73.4,  88,  13,  13,   _),
    Published("ViT-B/16",         "vit_base_patch16_384",  _at(384),      74.9,  87,  56,  68,   _),
    Published("DeiT-B",           "deit_base_patch16_224", _at(224),      81.8,  86,  18,  19,   _),
    Published("DeiT-B-384",       "deit_base_patch16_384", _at(384),      83.1,  86,  56,  68,   _),
    Published("T2T-ViT-19",       _,                       _,             81.4,  39, 8.4,   _,   _),
    Published("T2T-ViT-24",       _,                       _,             82.2,  64,  13,   _,   _),
    Published("ViT-L/16 (21k)",   "vit_large_patch16_384", _at(384),      85.3, 304, 192, 195, 172),
    Published("EfficientNetV2-S", "v2-s",                  _,             83.9,  22, 8.8,  24, 7.1),
    Published("EfficientNetV2-M", "v2-m",                  _,             85.1,  54,  24,  57,  13),
    Published("EfficientNetV2-L", "v2-l",                  _,             85.7, 120,  53,  98,  24),
    Published("EfficientNetV2-XL (21k)", "v2-xl",          _,             87.3, 208,  94,   _,  45),
)
# fmt: on

# Top-1 of networks without a row there: Table 11, and for V2-B2 the authors' released weights, for
# V1-B0 the EfficientNet paper's Table 2.
TOP1 = {
    "v2-b0": 78.7, "v2-b1": 79.8, "v2-b2": 80.5, "v2-b3": 82.1,
    "v1-b0": 77.1, "v1-b1": 79.0, "v1-b2": 79.8,
}  # fmt: skip


class Ratio(NamedTuple):
    """How many times what `to` takes `of` takes, as published."""

    table: str
    of: str
    to: str
    what: str
    """`infer`: one picture. `train`: a run of V1 at one size, of V2 progressive. `progressive`:
    both progressive."""
    published: float


RATIOS = (
    Ratio("Table 7",  "v1-b6", "v2-s", "train", 75 / 7.1),
    Ratio("Table 7",  "v1-b7", "v2-m", "train", 139 / 13),
    Ratio("Table 7",  "v1-b7", "v2-l", "train", 139 / 24),
    Ratio("Table 7",  "v2-l",  "v2-s", "train", 24 / 7.1),
    Ratio("Table 7",  "NFNet-F2", "v2-m", "train", 36 / 13),
    Ratio("Table 7",  "v1-b5", "v2-s", "infer", 60 / 24),
    Ratio("Table 7",  "v1-b6", "v2-s", "infer", 97 / 24),
    Ratio("Table 7",  "v1-b7", "v2-m", "infer", 170 / 57),
    Ratio("Table 7",  "v1-b7", "v2-l", "infer", 170 / 98),
    Ratio("Table 7",  "NFNet-F2", "v2-m", "infer", 124 / 57),
    Ratio("Table 7",  "NFNet-F4", "v2-l", "infer", 309 / 98),
    Ratio("Table 7",  "DeiT-B-384", "v2-s", "infer", 68 / 24),
    Ratio("Table 10", "v1-b7", "v2-m", "progressive", 54 / 13),
    Ratio("Table 11", "v1-b1", "v2-b0", "infer", 5739 / 2675),
    Ratio("Table 11", "v1-b2", "v2-b1", "infer", 3983 / 2003),
    Ratio("Table 11", "v1-b4", "v2-b3", "infer", 1693 / 628),
    Ratio("Table 11", "v1-b5", "v2-s", "infer", 901 / 291),
)  # fmt: skip
