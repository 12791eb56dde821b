"""Settings from INI files and command lines."""

import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from nha.core import config
from nha.core.config import format_settings, nested, parse_settings, setting
from nha.core.config_values import describe_kind, format_value, parse_value
from nha.core.errors import UserError
from nha.core.paths import config_file
from nha.optimization.config import OptimizationSettings

PerStage = tuple[float, float, float]
FixPoints = list[tuple[float, float]]


@dataclass(frozen=True)
class Trainer(config.Settings):
    """How the run proceeds."""

    learning_rate: float = setting(1e-3, help="Step of 100% of the parameters.", aliases=("lr",))
    fast: bool = setting(False, help="Skip images.")


@dataclass(frozen=True)
class Settings(config.Settings):
    data_path: Path = setting(help="Dataset folder.", section="Dataset", aliases=("dataset",))
    batch: tuple[int, int, int] = setting((16, 2, 2), help="Frames in a batch.")
    w_lap: FixPoints = setting([(1.0, 0.0)], help="Weight of the Laplacian.", section="Weights")
    keyframes: list[int] = setting([], help="Frames.")
    device: Literal["auto", "cpu"] = setting("auto", help="Device.", section="Machine")
    pack: Literal["truth", "mediapipe"] = setting("truth", help="Estimators.")
    checkpoint: Path | None = setting(None, help="Start from here.")
    trainer: Trainer = nested(Trainer)

    IGNORED: ClassVar = {"gpus": "the device is chosen with --device"}


def parse(*argv, **options):
    return parse_settings(Settings, ["--data_path", "x", *argv], description="d", **options)


@pytest.fixture
def ini(spaced_dir):
    def write(text: str, name: str = "settings.ini") -> str:
        (spaced_dir / name).write_text(text)
        return str(spaced_dir / name)

    return write


# --- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("1e4", int, 10000),
        (".1", float, 0.1),
        ("-1e-3", float, -1e-3),
        ("Yes", bool, True),
        ("false", bool, False),
        ("  'a b'  ", str, "a b"),
        ("a/b", Path, Path("a/b")),
        ("[16, 2, 2]", tuple[int, int, int], (16, 2, 2)),
        ("16 2 2", tuple[int, int, int], (16, 2, 2)),
        ("16,2,2", list[int], [16, 2, 2]),
        ("[]", list[int], []),
        ("", list[int], []),
        ("7", list[int], [7]),
        ("[1e-3,1e-3,1e-3]", PerStage, (1e-3, 1e-3, 1e-3)),
        ("[[1e-1, 50], [1e-2, 100]]", FixPoints, [(0.1, 50.0), (0.01, 100.0)]),
        ("[1, 2], [3, 4]", list[list[int]], [[1, 2], [3, 4]]),
        ("['a', b c]", list[str], ["a", "b c"]),
        ("none", int | None, None),
        ("5", int | None, 5),
        ("cpu", Literal["auto", "cpu"], "cpu"),
    ],
)
def test_values(text, kind, value):
    parsed = parse_value(text, kind)
    assert parsed == value
    assert type(parsed) is type(value)
    assert parse_value(format_value(parsed), kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "must_be"),
    [
        ("x", int, "a whole number"),
        ("1.5", int, "a whole number"),
        ("nan", float, "a number"),
        ("maybe", bool, "true or false"),
        ("", Path, "a path"),
        ("[1, 2]", tuple[int, int, int], "a list of 3, each a whole number"),
        ("[1, [2]", list[int], "a list, each item a whole number"),
        ("[[1, 2, 3]]", FixPoints, "a list, each item a list of 2, each a number"),
        ("gpu", Literal["auto", "cpu"], "one of auto, cpu"),
        ("x", float | None, "a number or none"),
    ],
)
def test_values_that_do_not_fit(text, kind, must_be):
    with pytest.raises(ValueError, match=".*"):
        parse_value(text, kind)
    assert describe_kind(kind) == must_be


# --- sources ---------------------------------------------------------------------------------------------


def test_defaults():
    settings = parse()
    assert settings == Settings(data_path=Path("x"))


def test_command_line():
    settings = parse(
        "--batch", "8", "1", "1", "--w_lap", "[[1, 2],", "[3, 4]]", "--fast", "--lr=-1e-3", "--device", "cpu"
    )  # fmt: skip
    assert settings.batch == (8, 1, 1)
    assert settings.w_lap == [(1, 2), (3, 4)]
    assert settings.trainer == Trainer(learning_rate=-1e-3, fast=True)
    assert settings.device == "cpu"
    assert parse("--fast", "false").trainer.fast is False


def test_ini_file_with_sections_comments_and_quotes(ini):
    path = ini(
        """
        [Any section]
        ; data_path = no
        # data_path = no
        batch = [4, 2, 1]   ; a comment
        checkpoint = "a ; file # one.ckpt"
        learning_rate = 1e-2 # a comment

        [Another]
        fast = true
        keyframes = []
        device=cpu
        """
    )
    settings = parse("--config", path)
    assert settings.batch == (4, 2, 1)
    assert settings.checkpoint == Path("a ; file # one.ckpt")
    assert settings.trainer == Trainer(learning_rate=1e-2, fast=True)
    assert (settings.keyframes, settings.device) == ([], "cpu")


def test_command_line_beats_ini_and_the_later_ini_beats_the_earlier(ini):
    first, second = (
        ini("lr = 1\nkeyframes = [1]\ndevice = cpu", "1.ini"),
        ini("lr = 2\nkeyframes = [2]", "2.ini"),
    )
    settings = parse("--config", first, "--config", second, "--keyframes", "3")
    assert (settings.trainer.learning_rate, settings.keyframes, settings.device) == (2, [3], "cpu")


@pytest.mark.parametrize("given", [("--learning_rate", "7"), ("--lr", "7")])
@pytest.mark.parametrize("written", ["learning_rate = 1", "lr = 1"])
def test_every_spelling_on_the_command_line_beats_every_spelling_in_the_file(ini, given, written):
    assert parse("--config", ini(written), *given).trainer.learning_rate == 7


def test_environment_variables_are_no_source(monkeypatch):
    monkeypatch.setenv("LR", "7")
    assert parse().trainer.learning_rate == 1e-3


def test_format_settings_round_trip(ini):
    settings = dataclasses.replace(
        parse("--fast", "--keyframes", "1", "2"), pack="mediapipe", w_lap=[(5e-2, 50.0), (5e-3, 100.0)]
    )
    text = format_settings(settings)
    assert "[Dataset]\ndata_path = x\n" in text
    assert "[How the run proceeds]\nlearning_rate = 0.001\n" in text
    assert parse_settings(Settings, ["--config", ini(text)], description="d") == settings


# --- mistakes --------------------------------------------------------------------------------------------


def test_unknown_keys_name_the_nearest(ini):
    with pytest.raises(UserError, match="unknown setting 'batsh' on the command line; did you mean 'batch'"):
        parse("--batsh", "1")
    with pytest.raises(UserError, match="unknown setting 'batc' .*; did you mean 'batch'"):
        parse("--batc=1")  # an abbreviation is not a key
    with pytest.raises(
        UserError, match="unknown setting 'key_frames' in '.*ini' line 2; did you mean 'keyframes'"
    ):
        parse("--config", ini("lr = 1\nkey_frames = []"))
    with pytest.raises(UserError, match="unknown setting 'zzzz' .*; see --help"):
        parse("--zzzz")
    with pytest.raises(UserError, match="unexpected argument 'stray'"):
        parse("--device", "cpu", "stray")


def test_missing_keys_are_named():
    with pytest.raises(UserError, match="missing setting 'data_path'; pass --data_path"):
        parse_settings(Settings, [], description="d")


@pytest.mark.parametrize("by_file", [True, False])
def test_values_that_do_not_fit_name_the_setting(ini, by_file):
    arguments = ("--config", ini("batch = [1, x, 2]")) if by_file else ("--batch", "[1, x, 2]")
    with pytest.raises(UserError, match=r"setting 'batch' must be a list of 3, .* not '\[1, x, 2\]'"):
        parse(*arguments)


def test_bad_files_and_lines(ini, tmp_path):
    with pytest.raises(UserError, match="'no such.ini' does not exist"):
        parse("--config", "no such.ini")
    with pytest.raises(UserError, match="line 2: write 'key = value', not 'batch'"):
        parse("--config", ini("\nbatch"))
    with pytest.raises(UserError, match="line 2: 'lr' is set a second time"):
        parse("--config", ini("lr = 1\nlr = 2"))
    (tmp_path / "binary.ini").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a readable text file"):
        parse("--config", str(tmp_path / "binary.ini"))
    with pytest.raises(UserError, match="expected one argument"):
        parse("--device")


def test_two_settings_of_one_name_are_our_mistake():
    @dataclass
    class Twice:
        learning_rate: float = setting(1.0, help="")
        trainer: Trainer = nested(Trainer)

    with pytest.raises(ValueError, match="same key: learning_rate"):
        parse_settings(Twice, [], description="d")


def test_ignored_keys_are_accepted_and_named(ini, capsys):
    parse("--config", ini("gpus = 3"))
    assert "settings without effect here: gpus" in capsys.readouterr().out


def test_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as exit_info:
        parse_settings(Settings, ["--help"], description="What it does.")
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    for expected in (
        "What it does.", "Dataset folder. (required)", "Weights:\n", "Machine:\n", "How the run proceeds:\n",
        "--learning_rate, --lr NUMBER", "Step of 100% of the parameters. (default: 0.001)",
        "--batch [INT, INT, INT]", "{auto,cpu}", "(default: [16, 2, 2])",
        "the device is chosen with --device",
    ):  # fmt: skip
        assert expected in text


# --- the published files ---------------------------------------------------------------------------------


@dataclass
class PublishedTracking:
    data_path: Path = setting(help="")
    n_shape: int = setting(help="")
    n_expr: int = setting(help="")
    n_tex: int = setting(help="")
    tex_res: int = setting(help="")
    device: str = setting(help="")
    output_path: Path = setting(help="")
    calibrated: bool = setting(help="")
    ignore_lower_neck: bool = setting(help="")
    img_log_freq: int = setting(help="")
    energy_log_freq: int = setting(help="")
    keyframes: list[int] = setting(help="")
    init_steps: int = setting(help="")
    steps_per_frame: int = setting(help="")
    sub_steps: int = setting(help="")
    lr: float = setting(help="")
    pos_lr: float = setting(help="")
    light_lr: float = setting(help="")
    cam_lr: float = setting(help="")
    blur_sigma: tuple[float, float] = setting(help="")
    sampling_scale: int = setting(help="")
    w_lmk: float = setting(help="")
    w_eyes_sym: float = setting(help="")
    w_eyes_lmk: float = setting(help="")
    w_photo: float = setting(help="")
    w_expr_reg: float = setting(help="")
    w_shape_reg: float = setting(help="")
    w_tex_reg: float = setting(help="")
    w_pos_glob: float = setting(help="")
    w_pos_neck: float = setting(help="")
    w_pos_jaw: float = setting(help="")
    w_pos_eyes: float = setting(help="")
    w_pos_trans: float = setting(help="")


@dataclass
class PublishedReenactment:
    driving_checkpoint: Path = setting(help="", aliases=("driving_ckpt", "source_model"))
    target_checkpoint: Path = setting(help="", aliases=("target_ckpt", "target_model"))
    driving_tracking_results: Path = setting(help="")
    target_tracking_results: Path = setting(help="")
    neutral_driving_frame: int = setting(help="", aliases=("neutral_source_frame",))
    neutral_target_frame: int = setting(help="")
    outpath: Path = setting(help="")


@dataclass
class PublishedOptimisation:
    image_log_period: int = setting(help="")
    default_root_dir: Path = setting(help="")
    data_path: Path = setting(help="")
    split_config: Path = setting(help="")
    tracking_results_path: Path = setting(help="")
    data_worker: int = setting(help="")
    train_batch_size: tuple[int, int, int] = setting(help="")
    validation_batch_size: tuple[int, int, int] = setting(help="")
    epochs_offset: int = setting(help="")
    epochs_texture: int = setting(help="")
    epochs_joint: int = setting(help="")
    flame_lr: PerStage = setting(help="")
    offset_lr: PerStage = setting(help="")
    tex_lr: PerStage = setting(help="")
    spatial_blur_sigma: float = setting(help="")
    offset_hidden_layers: int = setting(help="")
    offset_hidden_feats: int = setting(help="")
    texture_hidden_feats: int = setting(help="")
    texture_hidden_layers: int = setting(help="")
    d_normal_encoding: int = setting(help="")
    d_normal_encoding_hidden: int = setting(help="")
    n_normal_encoding_hidden: int = setting(help="")
    subdivide_mesh: int = setting(help="")
    flame_noise: float = setting(help="")
    soft_clip_sigma: float = setting(help="")
    body_part_weights: Path = setting(help="")
    w_rgb: PerStage = setting(help="")
    w_perc: PerStage = setting(help="")
    w_norm: PerStage = setting(help="")
    w_edge: PerStage = setting(help="")
    w_eye_closed: PerStage = setting(help="")
    w_semantic_ear: PerStage = setting(help="")
    w_semantic_eye: PerStage = setting(help="")
    w_semantic_hair: FixPoints = setting(help="")
    w_silh: FixPoints = setting(help="")
    w_lap: FixPoints = setting(help="")
    w_surface_reg: PerStage = setting(help="")
    w_lmk: PerStage = setting(help="")
    w_shape_reg: PerStage = setting(help="")
    w_expr_reg: PerStage = setting(help="")
    w_pose_reg: PerStage = setting(help="")
    texture_weight_decay: PerStage = setting(help="")

    IGNORED: ClassVar = dict.fromkeys(
        ("num_sanity_val_steps", "gpus", "distributed_backend", "accelerator", "load_lmk", "load_seg",
         "load_camera", "load_flame", "load_normal", "load_parsing"), "of the published code"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings_type", "expected"),
    [
        ("tracking", PublishedTracking, {"keyframes": [], "calibrated": False, "blur_sigma": (10, 1e-4)}),
        ("reenactment", PublishedReenactment, {"driving_checkpoint": Path("path-to-driving.ckpt")}),
        (
            "optimize_avatar",
            PublishedOptimisation,
            {
                "train_batch_size": (16, 2, 2),
                "w_semantic_hair": [(0.1, 50), (0.01, 100)],
                "w_pose_reg": (1e-3, 1e-3, 1e-3),
                "flame_noise": 0.1,
                "data_path": Path("PATH_TO_DATASET_FOLDER"),
            },
        ),
    ],
)
def test_published_files_and_ours_carry_the_same_values(
    shared_dir, repository, name, settings_type, expected
):
    published = shared_dir / "published_configs" / f"{name}.ini"
    settings = parse_settings(settings_type, ["--config", str(published)], description="d")
    assert {key: getattr(settings, key) for key in expected} == expected

    ours = parse_settings(
        settings_type, ["--config", str(repository / f"configs/{name}.ini")], description="d"
    )
    for field in dataclasses.fields(settings_type):
        if field.type != "Path" and field.type is not Path:
            assert getattr(ours, field.name) == getattr(settings, field.name), field.name


@dataclass(frozen=True)
class ListOfPaths:
    """Settings."""

    ckpt: list[Path] = setting([], help="Files.")


@pytest.mark.parametrize(
    ("argv", "paths"),
    [
        (["--ckpt", "it's a folder/a.ckpt"], ["it's a folder/a.ckpt"]),
        (["--ckpt", "a, b.ckpt", "c"], ["a, b.ckpt", "c"]),
        (["--ckpt", "[a b.ckpt, c]"], ["a b.ckpt", "c"]),
        (["--ckpt", "[]"], []),
    ],
)
def test_paths_in_a_list_may_hold_spaces(argv, paths):
    assert parse_settings(ListOfPaths, argv, description="d").ckpt == [Path(path) for path in paths]


# --- settings from Python --------------------------------------------------------------------------------


def test_settings_from_a_file_and_keywords(ini):
    path = ini("batch = [4, 2, 1]\nlr = 0.25\nkeyframes = [1]\ngpus = 3")
    settings = Settings.from_ini(
        path, dataset="a, folder", keyframes=(3, 4), checkpoint=Path("c.ckpt"), w_lap=[[1, 0.1]]
    )
    assert settings == Settings(
        data_path=Path("a, folder"),
        batch=(4, 2, 1),
        keyframes=[3, 4],
        checkpoint=Path("c.ckpt"),
        w_lap=[(1.0, 0.1)],
        trainer=Trainer(learning_rate=0.25),
    )
    assert Settings.from_ini(data_path="x") == Settings(data_path=Path("x"))
    assert Settings.from_ini(data_path="x", checkpoint=None, fast=True).trainer.fast is True
    third = Settings.from_ini(data_path="x", learning_rate=1 / 3)
    assert third.trainer.learning_rate == 1 / 3  # to the last bit


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"keyframe": [1]}, "unknown setting 'keyframe' among the keywords; did you mean 'keyframes'?"),
        ({"batch": (1, 2)}, r"setting 'batch' must be a list of 3, each a whole number, not '\[1, 2\]'"),
        ({"fast": 2}, "setting 'fast' must be true or false, not '2'"),
        ({"gpus": 3}, "unknown setting 'gpus'"),
    ],
)
def test_wrong_keywords_are_errors(keywords, message):
    with pytest.raises(UserError, match=message):
        Settings.from_ini(data_path="x", **keywords)


def test_a_missing_keyword_is_named():
    with pytest.raises(UserError, match=r"missing setting 'data_path'; .*in Python: data_path=VALUE"):
        Settings.from_ini()


@dataclass(frozen=True)
class Ranges(config.Settings):
    """Settings."""

    share: float = setting(0.5, option="part", help="Share.", minimum=0, maximum=1)
    sizes: list[int] = setting([1], help="Sizes.", minimum=1)
    limit: int | None = setting(None, help="Limit.", maximum=9)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--share", "2"], "--part must be at most 1, but is 2"),
        (["--part=-0.5"], "--part must be at least 0, but is -0.5"),
        (["--sizes", "3", "0"], "--sizes must be at least 1, but is 0"),
        (["--limit", "10"], "--limit must be at most 9, but is 10"),
    ],
)
def test_numbers_out_of_range(argv, message):
    with pytest.raises(UserError, match=message):
        parse_settings(Ranges, argv, description="d")


def test_numbers_in_range_and_those_of_finished_settings():
    assert parse_settings(Ranges, ["--share", "1", "--limit", "none"], description="d") == Ranges(share=1.0)
    Ranges().check()
    with pytest.raises(UserError, match="--sizes must be at least 1"):
        Ranges(sizes=[2, 0]).check()


@dataclass(frozen=True)
class Positional(config.Settings):
    """Settings."""

    source: Path = setting(option="avatar", positional=True, main=True, help="From.")
    target: Path = setting(option="out", positional=True, help="To.")
    names: list[str] = setting([], help="Names.")


@pytest.mark.parametrize(
    "argv", [["a", "b"], ["--avatar", "a", "--out", "b"], ["--source=a", "--target=b"], ["a", "--out", "b"]]
)
def test_positional_settings_have_names_too(argv):
    assert parse_settings(Positional, argv, description="d") == Positional(Path("a"), Path("b"))


def test_options_with_names_may_be_repeated():
    argv = ["a", "b", "--names", "one", "--names", "two"]
    assert parse_settings(Positional, argv, description="d").names == ["one", "two"]


def test_short_names_of_configurations(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "configs/demo.ini"):
        assert config_file(name) == repository / "nha" / "configs" / "demo.ini"
    (tmp_path / "demo").write_text("")
    assert config_file("demo") == Path("demo")  # a file of the user comes first
    with pytest.raises(
        UserError, match=r"'other.ini' does not exist; name an INI file, or one of (\w+, )*demo, "
    ):
        config_file("other.ini")


def test_the_published_configuration_works_from_every_folder(repository, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    inputs = {"dataset": "d", "tracking": "t", "out": "o"}
    argv = [text for key, value in inputs.items() for text in (f"--{key}", value)]
    of_package = repository / "nha" / "configs" / "body_part_weights.json"

    def weights() -> set[Path | None]:
        from_python = OptimizationSettings.from_ini("optimize_avatar", **inputs)
        typed = parse_settings(OptimizationSettings, ["--config", "optimize_avatar", *argv], description="d")
        return {settings.losses.body_part_weights for settings in (from_python, typed)}

    assert weights() == {of_package}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / of_package.name).write_text("{}")
    assert weights() == {Path("configs") / of_package.name}  # a file of the user comes first


def test_settings_from_python_need_no_configargparse():
    code = (
        "import sys; sys.modules['configargparse'] = None\n"
        "from nha.optimization.config import OptimizationSettings\n"
        "print(OptimizationSettings.from_ini('demo', dataset='d', tracking='t', out='o').schedule.epochs_offset)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "25\n"), done.stderr


@dataclass(frozen=True, kw_only=True)
class Ordered(config.Settings):
    """Settings whose order is not the one of the help."""

    dataset: str = setting("none", main=True, help="A dataset.")
    out: str = setting(main=True, help="A folder.")
    tracking: str = setting(positional=True, main=True, help="A file.")


def test_what_must_be_given_comes_first_in_the_help(capsys):
    with pytest.raises(SystemExit):
        parse_settings(Ordered, ["--help"], description="What it does.")
    text = capsys.readouterr().out
    places = [text.index(f"\n  {name} ") for name in ("TRACKING", "--out", "--dataset")]
    assert places == sorted(places)
