"""A recipe says everything a run depends on, and nothing else."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from effnetv2.arch.spec import Network
from effnetv2.data.augment import AUGMENTATIONS, OPERATIONS, Augmentation
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.errors import InputError
from effnetv2.train.optim import Optimizer
from effnetv2.train.schedules import LearningRate, Phase, Plateau, Progression


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChoice:
    """Where the pictures come from and how they are divided."""

    source: str
    """A folder, a CSV, a named set, or `package.module:function`."""
    val: float = 0.1
    """Share carved for validation where the source has no such part."""
    test: float = 0.1
    """Share carved for the final test where the source has no parts at all."""
    split_seed: int = 0
    bad_files: Literal["skip", "fail"] = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The full configuration of a training run; equal recipes are the same run."""

    data: DataChoice
    network: Network
    preprocessing: Preprocessing
    """How pictures are shown in validation, test and prediction."""
    progression: Progression = field(default_factory=Progression)
    augmentation: Augmentation = AUGMENTATIONS["photo"]
    epochs: float = 30.0
    batch_size: int = 32
    """Pictures of one optimizer update, over all ranks and accumulated parts."""
    accumulate: int = 1
    """Parts that a rank's share of the batch is computed in."""
    learning_rate: LearningRate = field(default_factory=LearningRate)
    optimizer: Optimizer = field(default_factory=Optimizer)
    plateau: Plateau = field(default_factory=Plateau)
    label_smoothing: float = 0.1
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: a class's loss weighs the inverse of its share of the training pictures."""
    ema_decay: float = 0.999
    norm_momentum: float = 0.1
    """Batch norm's share of the newest batch (1 - TensorFlow's momentum)."""
    recalibrate: bool = True
    """Re-estimate batch-norm statistics at the evaluation size; keep them if validation gains."""
    validate_every: float = 1.0
    """Epochs between validations."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    seed: int = 0

    def shown(self, phase: Phase) -> Preprocessing:
        """Return how validation pictures are shown in `phase`: as much larger than it as at last.

        A network that has only seen small pictures would be misjudged on large ones.
        """
        ratio = phase.resolution / self.progression.resolution[1]
        return replace(self.preprocessing, resolution=round(self.preprocessing.resolution * ratio))

    def __post_init__(self) -> None:
        p = self.progression
        for ok, complaint in (
            (0 < self.epochs < math.inf, f"epochs is {self.epochs}; it must be positive"),
            (self.batch_size >= 1, f"batch_size is {self.batch_size}; it must be at least 1"),
            (self.accumulate >= 1, f"accumulate is {self.accumulate}; it must be at least 1"),
            (p.phases >= 1, f"progression.phases is {p.phases}; it must be at least 1"),
            (min(p.resolution) >= 8, f"progression.resolution is {p.resolution}; at least 8 px"),
            (max(p.dropout) < 1 and max(p.drop_path) < 1, "dropout rates must be below 1"),
            (p.multiple >= 1, f"progression.multiple is {p.multiple}; it must be at least 1"),
            (
                min(*p.dropout, *p.drop_path, *p.randaugment, *p.mixup, *p.cutmix) >= 0,
                "progression: strengths must not be negative",
            ),
            (
                set(self.augmentation.operations) <= OPERATIONS.keys(),
                f"augmentation.operations: there are {', '.join(OPERATIONS)}",
            ),
            (self.validate_every > 0, "validate_every must be positive"),
            (0 <= self.label_smoothing < 1, "label_smoothing must be in [0, 1)"),
            (0 <= self.ema_decay < 1, f"ema_decay is {self.ema_decay}; it must be in [0, 1)"),
            (0 < self.norm_momentum <= 1, "norm_momentum must be in (0, 1]"),
            (self.plateau.patience >= 0, "plateau.patience must not be negative"),
            (self.plateau.wait >= 1, "plateau.wait must be at least 1"),
            (self.learning_rate.peak >= 0, "learning_rate.peak must not be negative"),
            (0 <= self.optimizer.momentum < 1, "optimizer.momentum must be in [0, 1)"),
            (0 <= self.optimizer.second < 1, "optimizer.second must be in [0, 1)"),
            (self.optimizer.weight_decay >= 0, "optimizer.weight_decay must not be negative"),
            (0 <= self.data.val < 1, f"data.val is {self.data.val}; it must be in [0, 1)"),
            (0 <= self.data.test < 1, f"data.test is {self.data.test}; it must be in [0, 1)"),
        ):
            if not ok:
                raise InputError(complaint)
