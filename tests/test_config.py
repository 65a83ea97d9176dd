"""Configurations are values: read back as written, overridden by path, compared, digested."""

import json
from dataclasses import replace
from typing import Any

import pytest

from effnetv2.arch.presets import PRESETS, V2_B0, V2_S
from effnetv2.arch.spec import Network, Stage
from effnetv2.config import changed, digest, from_data, from_json, override, to_data, to_json
from effnetv2.data.augment import AUGMENTATIONS
from effnetv2.data.preprocessing import Preprocessing
from effnetv2.errors import InputError
from effnetv2.train.recipe import DataChoice, Recipe
from effnetv2.train.schedules import Plateau, Progression

PLAIN = Recipe(
    data=DataChoice(source="photos"), network=V2_B0, preprocessing=Preprocessing(resolution=224)
)
RECIPE = replace(
    PLAIN,
    data=DataChoice(source="Fotos der Küche/猫", val=0.15, bad_files="fail"),
    network=V2_S,
    progression=Progression(phases=3, resolution=(96, 160), randaugment=(0.1, 1 / 3)),
    augmentation=AUGMENTATIONS["surface"],
    plateau=Plateau(factor=0.3, patience=4),
    epochs=12.5,
    compile=True,
)


def test_a_recipe_survives_json() -> None:
    assert from_json(Recipe, to_json(RECIPE), "recipe.json") == RECIPE


@pytest.mark.parametrize("net", PRESETS.values(), ids=list(PRESETS))
def test_a_network_survives_json(net: Network) -> None:
    assert from_json(Network, to_json(net), "net.json") == net


def test_a_missing_field_takes_its_default() -> None:
    old: dict[str, Any] = {
        "data": {"source": "photos"},
        "network": to_data(V2_B0),
        "preprocessing": {"resolution": 224},
        "plateau": {},
    }
    assert from_json(Recipe, json.dumps(old), "old.json") == PLAIN
    assert from_json(Plateau, "{}", "plateau.json") == Plateau()


def test_a_missing_field_without_default_is_named() -> None:
    with pytest.raises(InputError, match=r"^old\.json: data\.source: "):
        from_json(Recipe, '{"data": {}, "preprocessing": {"resolution": 224}}', "old.json")


@pytest.mark.parametrize(
    ("parents", "name", "complaint"),
    [
        ((), "epoch", "no field 'epoch'; did you mean 'epochs'?"),
        (("optimizer",), "weight_decy", "no field 'optimizer.weight_decy'; did you mean "
         "'optimizer.weight_decay'?"),
        ((), "clip_norm", "no field 'clip_norm'; did you mean 'optimizer.clip_norm'?"),
        (("network", "stages", 1), "sse", "no field 'network.stages.1.sse'; did you mean "
         "'network.stages.1.se'?"),
        ((), "#!?", "no field '#!?'"),
    ],
)  # fmt: skip
def test_an_unknown_field_is_refused_wherever_it_stands(
    parents: tuple[str | int, ...], name: str, complaint: str
) -> None:
    data = here = to_data(RECIPE)
    for parent in parents:
        here = here[parent]
    here[name] = 0.25
    with pytest.raises(InputError) as caught:
        from_json(Recipe, json.dumps(data), "recipe.json")
    assert str(caught.value) == f"recipe.json: {complaint}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"stem": 8', "net.json: not JSON"),
        ('{"name": "n", "stem": "wide", "stages": []}', "net.json: stem: "),
        ('{"name": "n", "stem": 8, "stages": []}', "net.json: network has no stages"),
        ('{"name": "n", "stem": 8, "stages": [{"op": "conv"}]}', "net.json: stages.0.op: "),
        (to_json(V2_S).replace('"kernel": 3', '"kernel": 4', 1), "net.json: stages.0: stage kern"),
        ("[]", "net.json: "),
    ],
)
def test_a_bad_file_is_named_with_its_field_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(Network, text, "net.json")
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("epochs", "3", 3.0),
        ("learning_rate.peak", "2e-3", 0.002),
        ("compile", "false", False),
        ("optimizer.name", "sgd", "sgd"),
        ("precision", '"float32"', "float32"),
        ("progression.resolution", "[64, 128]", (64, 128)),
        ("data.source", "other photos/", "other photos/"),
        ("network.padding", "same", "same"),
    ],
)
def test_one_field_is_overridden_by_its_path(path: str, text: str, expected: object) -> None:
    before = digest(RECIPE)
    found: Any = override(RECIPE, path, text)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == expected
    assert type(found) is type(expected)
    assert list(changed(RECIPE, override(RECIPE, path, text))) == [path]
    assert digest(RECIPE) == before


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("optimizer.weight_deacy", "0", "did you mean 'optimizer.weight_decay'?"),
        ("weight_decay", "0", "did you mean 'optimizer.weight_decay'?"),
        ("#!?", "0", "there are data.source, "),
        ("epochs.more", "1", "no field 'epochs.more'"),
        ("", "1", "no field ''"),
        ("optimizer", '{"nam": "sgd"}', "did you mean 'optimizer.name'?"),
        ("epochs", "many", "epochs=many: epochs: "),
        ("epochs", "", "epochs=: epochs: "),
        ("epochs", "-1", "epochs is -1.0; it must be positive"),
        ("epochs", "NaN", "epochs is nan; it must be positive"),
        ("batch_size", "2.5", "batch_size=2.5: batch_size: "),
        ("compile", "maybe", "compile=maybe: compile: "),
        ("optimizer.name", "magic", "optimizer.name=magic: optimizer.name: "),
        ("progression.resolution", "[96]", "progression.resolution=[96]: progression.resolution"),
        ("progression.resolution", "96", "progression.resolution=96: progression.resolution"),
        ("network.stages", "[]", "network.stages=[]: network: network has no stages"),
    ],
)
def test_a_bad_override_is_one_line(path: str, text: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        override(RECIPE, path, text)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_what_differs_is_changed() -> None:
    assert changed(RECIPE, replace(RECIPE)) == {}
    other = override(override(RECIPE, "learning_rate.peak", "0.5"), "seed", "7")
    assert changed(RECIPE, other) == {
        "learning_rate.peak": (RECIPE.learning_rate.peak, 0.5),
        "seed": (0, 7),
    }


def test_equal_values_share_a_digest_that_stays() -> None:
    stage = Stage("fused", 1, 3, 1, 24, 2)
    assert digest(stage) == "574805c28aabef36"  # in every version: records of runs hold it
    shuffled = dict(reversed(to_data(stage).items()))
    assert digest(from_data(Stage, shuffled, "")) == digest(stage)
    assert digest(from_json(Recipe, to_json(RECIPE), "")) == digest(RECIPE)


def test_different_values_have_different_digests() -> None:
    others = [override(RECIPE, "seed", str(seed)) for seed in range(1, 20)]
    assert len({digest(recipe) for recipe in [RECIPE, *others]}) == 20
