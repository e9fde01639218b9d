"""Every group file composes, bad configuration is one line, and params.yaml is not stale."""

from pathlib import Path

import pytest
import yaml

from skelift.config import GROUPS, Config, compose, to_yaml
from skelift.errors import InputError

CONF = Path(__file__).parents[1] / "src/skelift/conf"
CHOICES = [
    f"{file.parent.name}={file.stem}" for group in GROUPS for file in (CONF / group).glob("*.yaml")
]


def test_groups_are_the_folders() -> None:
    assert sorted(GROUPS) == sorted({file.parent.name for file in CONF.glob("*/*.yaml")})


@pytest.mark.parametrize("choice", sorted(CHOICES))
def test_every_choice_composes_and_reads_back_the_same(choice: str, tmp_path: Path) -> None:
    config = compose([choice])
    assert isinstance(config, Config)
    assert len(config.body.bone_indices) == len(config.body.bones)
    file = tmp_path / "composed.yaml"
    file.write_text(to_yaml(config))
    assert compose(file=file) == config


def test_overrides_win_over_groups_and_file(tmp_path: Path) -> None:
    assert compose(["experiment=paper", "train.steps=7"]).train.steps == 7
    file = tmp_path / "composed.yaml"
    file.write_text(to_yaml(compose(["train.steps=7"])))
    assert compose(file=file).train.steps == 7
    assert compose(["train.steps=9", "train.betas=[0.1,0.2]"], file).train.steps == 9
    assert compose(["train.betas=[0.1,0.2]"], file).train.betas == [0.1, 0.2]


def test_paper_has_every_departure_off() -> None:
    loss = compose(["experiment=paper"]).loss
    assert (loss.gan_form, loss.norms, loss.detach_skeleton) == ("log", "squared", False)
    assert (loss.silhouette, loss.mirror, loss.warm_up, loss.ramp) == (0, 0, 0, 0)


def test_own_skeleton_needs_no_code(tmp_path: Path) -> None:
    own = yaml.safe_load((CONF / "skeleton/h36m17.yaml").read_text())
    own |= {"name": "mine", "root": "spine"}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(own))
    config = compose([f"skeleton={file}", "data=hands"])
    assert (config.body.name, config.body.root, config.data.name) == ("mine", "spine", "hands")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps=abc", "train.steps: Value 'abc' of type 'str' could not be converted"),
        ("train.step=1", "no key train.step; did you mean train.steps"),
        ("+train.extra=1", "no key train.extra"),
        ("data.synth.camera.focal=1", "did you mean data.synth.camera.focal_px"),
        ("bogus=1", "no key bogus; --cfg job prints all keys"),
        ("experiment=bogus", "no experiment/bogus; there are "),
        ("skeleton=bogus", "no skeleton/bogus; there are "),
        ("skeleton=/bogus.yaml", "/bogus.yaml: not found"),
        ("skeleton.root=tail", "tail not among its joints"),
        ("train.steps", "train.steps"),
        ("+variants.small=['model.widht=4']", "did you mean model.width"),
        ("+variants.small=['model.width=narrow']", "model.width: Value 'narrow'"),
        ("+variants.small=['loss=none']", "there are paper, quickstart, recipe"),
        ("+variants.small=['data=hands']", "may choose model, loss, train"),
    ],
)
def test_bad_override_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        compose([override])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {steps: many}", "train.steps"),
        ("train: {step: 1}", "did you mean train.steps"),
        ("a: b: c", "no readable YAML"),
        ("- a", "no mapping"),
        ("", "name"),
    ],
)
def test_bad_file_is_one_clear_line(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "composed.yaml"
    file.write_text(content)
    with pytest.raises(InputError) as raised:
        compose(file=file)
    assert message in str(raised.value)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_group_choice_on_a_composed_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "composed.yaml"
    file.write_text(to_yaml(compose()))
    with pytest.raises(InputError, match="composed already"):
        compose(["experiment=paper"], file)
