"""Every group file composes, every key says what it admits, and bad values are one line."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
import yaml
from annotated_types import Interval
from pydantic import AfterValidator, Strict

from skelift.cli import main
from skelift.config import GROUPS, Config, LossConfig, compose, each_variant, to_yaml, vary
from skelift.config.read import read
from skelift.config.relations import WEIGHTS
from skelift.errors import InputError

CONF = Path(__file__).parents[1] / "src/skelift/conf"
CHOICES = [
    f"{file.parent.name}={file.stem}" for group in GROUPS for file in (CONF / group).glob("*.yaml")
]


@pytest.mark.parametrize("choice", sorted(CHOICES))
def test_every_choice_composes_and_reads_back_the_same(choice: str, tmp_path: Path) -> None:
    config = compose([choice, "data.size=128"] if choice.startswith("model=") else [choice])
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
    assert (loss.gan_form, loss.norms, loss.disc_input) == ("log", "squared", "skeleton_image")
    assert (loss.silhouette, loss.mirror, loss.lift_images_from) == (0, 0, 0)


def test_own_skeleton_needs_no_code(tmp_path: Path) -> None:
    own = yaml.safe_load((CONF / "skeleton/h36m17.yaml").read_text())
    own |= {"name": "mine", "root": "spine"}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(own))
    config = compose([f"skeleton={file}", "data=hands"])
    assert (config.body.name, config.body.root, config.data.name) == ("mine", "spine", "hands")
    assert compose([f"skeleton={file}", "skeleton.root=thorax"]).body.root == "thorax"
    named_otherwise = file.rename(tmp_path / "MINE.YAML")
    assert compose([f"skeleton={named_otherwise}", "data=hands"]) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps=abc", "train.steps=abc: must be a valid integer"),
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
        (
            "+variants.small=['model.width=narrow']",
            "variants.small: model.width=narrow: must be a valid integer",
        ),
        ("+variants.small=['loss=none']", "there are paper, quickstart, recipe"),
        ("loss.gan_form=leastsquares", "must be log or least_squares; did you mean least_squares?"),
        ("train.batch=-3", "train.batch=-3: must be 2 or more"),
        ("train.betas=[0.5,1]", "train.betas[1]=1: must be below 1"),
        ("train.betas=[0.5]", "train.betas=[0.5]: must have at least 2 items"),
        ("train.decay=nan", "train.decay=nan: must be a finite number"),
        ("train.dvclive=maybe", "train.dvclive=maybe: must be a valid boolean"),
        ("train.device=cdua", "train.device=cdua: must be auto, cpu, cuda"),
        ("train.steps=null", "train.steps=null: must be a valid integer"),
        ("train.steps=1.5", "train.steps=1.5: must be a valid integer"),
        ("train.steps=true", "train.steps=true: must be a valid integer"),
        ("train.compile=1", "train.compile=1: must be auto, on or off"),
        ("train.compile=[]", "train.compile=[]: must be auto, on or off"),
        ("train.dvclive=1", "train.dvclive=1: must be a valid boolean"),
        ("name=true", "name=true: must be a valid string"),
        ("train=3", "Config group override must be a string"),
        ("train.augment=3", "train.augment=3: must be a mapping of keys to values"),
        ("evaluate.baselines=[mean_posse]", "baselines[0]=mean_posse: must be mean_pose"),
        ("paths.data=''", "paths.data=: must be a path"),
        ("data.name=../zz", "data.name=../zz: becomes a folder's name"),
        ("data.name=..", "data.name=..: becomes a folder's name"),
        ("data.name=.", "data.name=.: becomes a folder's name"),
        ("name='a\\b'", "name=a\\b: becomes a folder's name"),
        ("data.folder.layout=person/clap", "must be any of person, clip, camera, activity"),
        ("sweep.overrides=['train.step=1']", "sweep.overrides: no key train.step; did you mean"),
        ("+variants.small=['loss.norms=square']", "variants.small: loss.norms=square: must be"),
        ("+variants.small=['data=hands']", "may choose model, loss, train"),
        ("train.steps=1,2", "train.steps=1,2: has several values, and a run takes one"),
        ("train.betas[0]=0.1", "train.betas[0]=0.1: a list is set as a whole; write train.betas=["),
        ("hydra.run.dir=x", "skelift starts no Hydra job"),
        ("+hydra.x=1", "skelift starts no Hydra job"),
        ("hydra/launcher=basic", "skelift starts no Hydra job"),
        ("my-data", "my-data: is not KEY=VALUE"),
        ("~nothing", "~nothing: there is no such key"),
        ("train.betas=[null,1]", "train.betas[0]=null: must be"),
        ("paths.model=data/quickstart/m", "paths.data=data/quickstart: is replaced as a whole"),
        ("data.synth.motion=data/quickstart/b.npz", "would take data.synth.motion=data/quickstart"),
        ("data.folder.focal_px=-5", "data.folder.focal_px=-5: must be 0 or more"),
        ("data.folder.focal_px=nan", "data.folder.focal_px=nan: must be a finite number"),
        ("+variants.a=['train.seed: 1']", "variants.a: train.seed: 1: is not KEY=VALUE"),
    ],
)
def test_bad_override_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        compose([override])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "path",
    [
        "sp/bilder_ü",
        "John's pics",
        "walk (1)",
        "a,b",
        "#1",
        "[1]",
        "{a}",
        "a=b",
        "a: b",
        "'70s",
        "007",
        "1e3",
        "1_000",
        "a&b!",
        "a  b",
        "x~",
    ],
)
def test_a_path_needs_no_quotes(path: str, tmp_path: Path) -> None:
    file = tmp_path / "composed.yaml"
    file.write_text(to_yaml(compose(["data=folder"])))
    for config in (
        compose(["data=folder", f"data.folder.images={path}"]),
        compose([f"data.folder.images={path}"], file),
        vary(compose(["data=folder"]), [f"data.folder.images={path}"]),
    ):
        assert config.data.folder is not None
        assert config.data.folder.images == path


def test_a_path_may_be_quoted_or_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for written, path in {
        "~/pics": "/home/somebody/pics",
        '"~/a, b"': "~/a, b",
        "'it''s'": "'it''s'",
        "a\\,b": "a,b",
        "raw/${name}": "raw/folder",
    }.items():
        folder = compose(["data=folder", f"data.folder.images={written}"]).data.folder
        assert folder is not None
        assert folder.images == path


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.mix.train=[ü/a,b (1)]", """write 'data.mix.train=["ü/a","b (1)"]'"""),
        ("variants={a: [train.seed=1]}", """'variants={NAME: ["KEY=VALUE"]}'"""),
        ("data=bücher", """write 'data="bücher"'"""),
    ],
)
def test_what_cannot_be_read_is_told_with_a_form_that_can(override: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        compose([override])
    assert str(raised.value).startswith(override)


def test_the_form_that_is_told_can_be_read() -> None:
    assert compose(["data=mix", 'data.mix.train=["ü/a","b (1)"]']).data.mix.train == [
        "ü/a",
        "b (1)",
    ]
    assert compose(['variants={a: ["train.seed=1"]}']).variants == {"a": ["train.seed=1"]}


def test_a_mapping_of_free_names_is_replaced_and_sections_are_merged(tmp_path: Path) -> None:
    file = tmp_path / "composed.yaml"
    file.write_text(to_yaml(compose(["experiment=seeds"])))
    for given in ({"overrides": [], "file": file}, {"overrides": ["experiment=seeds"]}):
        overrides, start = given["overrides"], given.get("file")
        assert compose([*overrides, "variants={}"], start).variants == {}
        assert compose([*overrides, "~variants"], start).variants == {}
        one = compose([*overrides, 'variants={a: ["train.seed=1"]}'], start)
        assert one.variants == {"a": ["train.seed=1"]}
        assert compose([*overrides, "sweep.space={}"], start).sweep.space == {}
        more = compose([*overrides, "data.synth={train: 5}"], start).data.synth
        assert (more.train, more.test) == (5, compose([*overrides], start).data.synth.test)


def test_variants_have_folders_of_their_own() -> None:
    two = ["variants.a=['paths.model=x']", "variants.b=['paths.model=./x']"]
    with pytest.raises(InputError, match=r"variants\.b: has the folder \./x of variant a"):
        compose(two)
    for name in ("../a", "a/b", ".."):
        with pytest.raises(InputError, match="becomes a folder's name"):
            compose([f'variants={{{name}: ["train.seed=1"]}}'])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {steps: many}", "train.steps"),
        ("train: {step: 1}", "did you mean train.steps"),
        ("a: b: c", "is not readable YAML"),
        ("- a", "is not a mapping"),
        ("", "name"),
        ("loss: {norms: elepos}", "loss.norms=elepos: must be squared or elepose; did you mean e"),
        ("train: {clip: .inf}", "train.clip=inf: must be a finite number"),
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


def test_a_composed_file_that_is_no_utf8_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("name: mäuse".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.yaml: is not readable YAML") as raised:
        compose(file=file)
    assert "\n" not in str(raised.value)


def test_group_choice_on_a_composed_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "composed.yaml"
    file.write_text(to_yaml(compose()))
    with pytest.raises(InputError, match="composed already"):
        compose(["experiment=paper"], file)


def walk(kind: Any, key: str = "") -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """(key, type, marks) of all that is neither a section nor a container, list elements too."""
    marks = ()
    if get_origin(kind) is Annotated:
        kind, marks = kind.__origin__, kind.__metadata__
    options = get_args(kind)
    if is_dataclass(kind):
        for name, hint in get_type_hints(kind, include_extras=True).items():
            yield from walk(hint, f"{key}.{name}" if key else name)
    elif options and get_origin(kind) is not Literal:
        for option in options[1:] if get_origin(kind) is dict else options:
            if option is not type(None):
                yield from walk(option, key)
    else:
        yield key, kind, marks


KEYS = list(walk(Config))
CHOSEN = [(key, kind) for key, kind, _ in KEYS if get_origin(kind) is Literal]
RANGED = [
    pytest.param(key, Annotated[kind, *marks], mark, id=key)
    for key, kind, marks in KEYS
    for mark in marks
    if isinstance(mark, Interval)
]


def unchecked(kind: Any) -> list[str]:
    """Keys whose values nothing checks."""
    needed = {str: (str, AfterValidator), int: Interval, float: Interval}
    return [
        key
        for key, kind, marks in walk(kind)
        if kind in needed and not any(isinstance(mark, needed[kind]) for mark in marks)
    ]


def test_every_key_says_what_it_admits() -> None:
    assert unchecked(Config) == []
    assert {key for key, kind, _ in KEYS if kind is Any} == {"skeleton", "sweep.space.choices"}
    plain = {kind for _, kind, _ in KEYS if get_origin(kind) is not Literal}
    assert plain == {str, int, float, bool, Any}
    assert [key for key, kind, marks in KEYS if kind is bool and Strict() not in marks] == []


def test_the_walk_finds_unchecked_keys() -> None:
    @dataclass
    class Inner:
        bare: str
        numbers: list[float]
        fine: Literal["a", "b"]

    @dataclass
    class Outer:
        optional: Inner | None
        table: dict[str, Inner]
        count: int

    found = ["optional.bare", "optional.numbers", "table.bare", "table.numbers", "count"]
    assert unchecked(Outer) == found


@pytest.mark.parametrize(("key", "kind"), CHOSEN, ids=[key for key, _ in CHOSEN])
def test_a_typo_of_a_choice_names_the_nearest(key: str, kind: Any) -> None:
    for choice in get_args(kind):
        assert read(kind, choice, key) == choice
        if choice:
            with pytest.raises(InputError) as raised:
                read(kind, f"{choice}x", key)
            assert str(raised.value).startswith(f"{key}={choice}x: must be ")
            assert str(raised.value).endswith(f"; did you mean {choice}?")


@pytest.mark.parametrize(("key", "kind", "mark"), RANGED)
def test_a_number_out_of_its_range_is_refused(key: str, kind: Any, mark: Interval) -> None:
    number = kind.__origin__
    allowed = [limit for limit in (mark.ge, mark.le) if limit is not None]
    bad = [limit for limit in (mark.gt, mark.lt) if limit is not None]
    bad += [limit + step for limit, step in ((mark.ge, -1), (mark.le, 1)) if limit is not None]
    bad = [number(value) for value in bad]
    if number is float:
        bad += [math.nan, math.inf, -math.inf]
    for value in (*bad, True, "1", "many", None, []):
        with pytest.raises(InputError, match=rf"^{re.escape(key)}="):
            read(kind, value, key)
    for value in allowed:
        assert read(kind, number(value), key) == value


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.size=60"], "data.size=60: must be a multiple of 8, and 24 or more"),
        (["model.disc_scales=3"], "data.size=48: must be a multiple of 8, and 96 or more"),
        (["data.folder.every=2"], "data: has synth and folder; keep one"),
        (["flow.pca=33"], "flow.pca=33: must be 32 or less"),
        (
            ["data.synth.camera.distance_m=[6,4]"],
            "distance_m=[6, 4]: must be two numbers, the smaller first",
        ),
        (
            ["data.synth.camera.elevation_deg=[8,-1]"],
            "elevation_deg=[8, -1]: must be a mean and a std",
        ),
        (["train.snapshot_every=70"], "must be a multiple of train.interval=50"),
        (["train.patience=2"], "set train.snapshot_every too"),
        (
            [
                "heads.front_back.enabled=false",
                "heads.pose_facing.enabled=true",
                "loss.canonical_sides=false",
            ],
            "pose_facing.enabled=true needs loss.canonical_sides=true",
        ),
        (["loss.canonical_sides=false"], "front_back.enabled=true needs loss.canonical_sides=true"),
    ],
)
def test_keys_that_do_not_go_together_are_one_clear_line(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        compose(["experiment=quickstart", *overrides])
    assert message in str(raised.value)
    with pytest.raises(InputError) as again:
        compose(["experiment=quickstart", f"+variants.one={overrides!r}"])
    assert str(again.value) == f"variants.one: {raised.value}"


def test_a_bad_value_ends_with_exit_code_2(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "loss.gan_form=leastsquares"]) == 2
    assert capsys.readouterr().err == (
        "skelift train: error: loss.gan_form=leastsquares: must be log or least_squares; "
        "did you mean least_squares?\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_yaml_takes_on_for_a_boolean(tmp_path: Path) -> None:
    file = tmp_path / "composed.yaml"
    file.write_text(to_yaml(compose()).replace("compile: auto", "compile: on"))
    assert compose(file=file).train.compile == "on"
    assert vary(compose(), ["train.compile=off"]).train.compile == "off"
    assert compose(["train.compile=on"]).train.compile == "on"


def test_a_whole_group_in_a_variant_takes_its_own_defaults() -> None:
    config = compose(
        ["experiment=quickstart", "+variants.paper=['loss=paper','heads.front_back.enabled=false']"]
    )
    ((_, paper),) = each_variant(config)
    assert paper.loss == LossConfig()
    assert paper.train == config.train


def test_an_enabled_head_keeps_its_own_default_of_steps() -> None:
    heads = compose(["experiment=people"]).heads
    assert (heads.front_back.enabled, heads.front_back.steps, heads.refiner.steps) == (
        True,
        1500,
        4000,
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss=paper", "loss.lift_images_from=null"], "leaves Lambda without a loss"),
        (["loss.lifted_prior=1"], "loss.lifted_prior=1: must be 0, or 2 or more"),
        (["train.seed=99999999999"], "train.seed=99999999999: must be"),
        ([f"loss.{term}=0" for term in WEIGHTS], "are all 0, so nothing is trained"),
        (
            ["train.patience=3", "train.snapshot_every=5000"],
            "train.patience=3: counts snapshots, and train.snapshot_every=5000 gives none",
        ),
        (
            ["loss=paper", "loss.cycle_weight_init=5"],
            "loss.cycle_weight_init=5: has no effect with loss.cycle_weight_steps=0",
        ),
    ],
)
def test_settings_that_train_nothing_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        compose(overrides)
