"""A trained network with all it needs to answer: labels, preprocessing, weights, in one folder."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from effnetv2.arch.spec import Network
from effnetv2.config import from_json, to_json
from effnetv2.data.decode import read, rgb
from effnetv2.data.preprocessing import Preprocessing, stack
from effnetv2.errors import InputError
from effnetv2.nn.network import EfficientNet
from effnetv2.train.machine import Machine
from effnetv2.train.run import replacing, write_text
from effnetv2.version import __version__

WEIGHTS, CARD = "weights.safetensors", "model.json"

Picture = str | Path | Image.Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What weights alone do not tell."""

    network: Network
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    effnetv2: str = __version__


@dataclass(frozen=True, slots=True)
class Guess:
    """A label and how probable the network finds it."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The likeliest labels of one picture, best first; or why it could not be read."""

    path: str
    top: tuple[Guess, ...]
    error: str = ""

    @property
    def label(self) -> str:
        """The likeliest label."""
        return self.top[0].label

    def data(self) -> dict[str, Any]:
        """Return the prediction as JSON would hold it."""
        return {"path": self.path, "top": [asdict(g) for g in self.top]} | (
            {"error": self.error} if self.error else {}
        )


class Classifier:
    """A network that is shown pictures, not tensors."""

    def __init__(self, card: Card, model: EfficientNet, machine: Machine) -> None:
        """Answer with `model`, which is put in evaluation mode, on `machine`."""
        self.card, self.machine = card, machine
        self.model = model.eval().to(machine.device)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the logits."""
        return self.card.classes

    @classmethod
    def load(cls, folder: str | Path, machine: Machine | None = None) -> "Classifier":
        """Return the classifier that a run, or its `model` folder, holds."""
        where = Path(folder)
        if (where / "model" / CARD).exists():
            where = where / "model"
        if not (where / CARD).exists():
            raise InputError(
                f"{folder} holds no trained model (no {CARD}); give a finished run's folder"
            )
        card = from_json(Card, (where / CARD).read_text(), str(where / CARD))
        model = EfficientNet(card.network, len(card.classes))
        try:
            model.load_state_dict(load_file(where / WEIGHTS))
        except (OSError, SafetensorError, RuntimeError) as e:
            reason = " ".join(str(e).split())
            raise InputError(f"{where / WEIGHTS} cannot be loaded: {reason:.200}") from e
        return cls(card, model.to(memory_format=torch.channels_last), machine or Machine.choose())

    def save(self, folder: Path) -> None:
        """Write the classifier into `folder`."""
        state = {k: v.contiguous().cpu() for k, v in self.model.state_dict().items()}
        with replacing(folder / WEIGHTS) as f:
            f.write(save(state))
        write_text(folder / CARD, to_json(self.card))

    def predict(self, picture: Picture, top: int = 5) -> Prediction:
        """Return the `top` likeliest labels of a path or PIL image; InputError if it is broken."""
        (found,) = self.stream([picture], top)
        if found.error:
            raise InputError(f"{found.path}: {found.error}")
        return found

    def stream(
        self, pictures: Iterable[Picture], top: int = 5, batch_size: int = 16
    ) -> Iterator[Prediction]:
        """Yield predictions in order, holding one batch in memory; bad pictures have an error."""
        how = self.card.preprocessing
        batch: list[tuple[str, Image.Image | None, str]] = []
        for picture in pictures:
            name = str(picture)
            try:
                if isinstance(picture, Image.Image):
                    name = f"{picture.width} x {picture.height} px"
                    image = rgb(picture)
                else:
                    image = read(Path(picture), how.side_needed)
                batch.append((name, how.view(image), ""))
            except OSError as e:  # PictureError, or an opened image whose file turns out cut
                batch.append((name, None, str(e).removeprefix(f"{name}: ")))
            if len(batch) == batch_size:
                yield from self._answers(batch, top)
                batch = []
        if batch:
            yield from self._answers(batch, top)

    @torch.inference_mode()
    def _answers(
        self, batch: list[tuple[str, Image.Image | None, str]], top: int
    ) -> Iterator[Prediction]:
        images = [image for _, image, _ in batch if image is not None]
        rows: Iterator[tuple[list[float], list[int]]] = iter(())
        if images:
            scores = self.machine.logits(self.model, stack(images), self.card.preprocessing)
            best = scores.softmax(1).cpu().topk(min(top, len(self.classes)), 1)
            rows = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        for name, image, error in batch:
            guesses = () if image is None else next(rows)
            yield Prediction(
                name,
                tuple(Guess(self.classes[i], p) for p, i in zip(*guesses, strict=True)),
                error,
            )
