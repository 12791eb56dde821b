"""`import nha`: the public names, and settings from keywords."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

import nha
from nha.core.arguments import list_of
from nha.core.errors import UserError
from nha.data.tracking_file import write_tracking
from nha.losses.terms import Term


@pytest.mark.parametrize("name", nha.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(nha, name)
    assert name in dir(nha)
    assert inspect.getdoc(value)
    if inspect.isfunction(value):
        assert "Args:" in value.__doc__
        assert "Returns:" in value.__doc__


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        nha.trian  # noqa: B018


def test_functions_stay_what_they_are_when_packages_of_their_names_are_imported():
    from nha.export import run
    from nha.preprocess import pipeline

    assert (run.__name__, pipeline.__name__) == ("nha.export.run", "nha.preprocess.pipeline")
    assert inspect.isfunction(nha.export)
    assert inspect.isfunction(nha.preprocess)
    assert nha.train is nha.optimize_avatar


OPEN = torch.nn.Linear(1, 1)  # in place of an open avatar


def train(**extensions):
    return nha.train("d", "t", "out", **{"config": "demo", **extensions})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nha.preprocess("v.mp4", "out", scael=64), "unknown setting 'scael' .*; did you mean 'scale'"),
        (lambda: nha.track("d", "out", mode="fast"), "setting 'mode' must be one of batched, sequential, not 'fast'"),
        (lambda: nha.train("d", "t", "out", config="dem"), "configuration file 'dem' does not exist; .* demo, "),
        (lambda: nha.train("d", "t", "out", epochs_offset=-1), "--epochs_offset must be at least 0, but is -1"),
        (lambda: nha.evaluate("a.ckpt", "d", "t", fps="fast"), "setting 'fps' must be a number, not 'fast'"),
        (lambda: nha.reenact("a.ckpt", "t", "out"), "no driving person"),
        (lambda: nha.export("a.ckpt", "out", formats=["stl"]), "setting 'formats' must be a list"),
        (lambda: nha.evaluate(OPEN, "d", "t"), "setting 'avatar' must be a list, each item a path, not .* Linear$"),
        (lambda: nha.reenact(OPEN, "t", "out"), "setting 'avatar' must be a path, not an object of class Linear$"),
        (lambda: train(extra_terms=[max]), "extra_terms must be a list of nha.losses.terms.Term, but holds a builtin"),
        (lambda: train(extra_terms=Term), "extra_terms must be .*, but holds the class Term"),
        (lambda: train(texture_net=torch.nn.Linear), "texture_net must be .* not the class Linear"),
        (lambda: train(texture_net=OPEN), "texture_net.forward must take 6 arguments: points, normal_encoding, "),
        (lambda: train(offset_net=OPEN), "offset_net.forward must take 2 arguments: points, condition .see nha.nets"),
        (lambda: train(offset_net=OPEN, config="blend"), "offset_net.forward must"),
        (lambda: train(offset_net=torch.nn.Bilinear(1, 1, 1), config="blend"), "blend model has no networks"),
        (lambda: nha.load_tracking("nowhere"), "no tracking file at 'nowhere'"),
    ],
)  # fmt: skip
def test_mistakes_are_user_errors(call, message):
    with pytest.raises(UserError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_tracking_gives_parameters_and_cameras_and_is_a_path(make_tracking, tmp_path):
    result = make_tracking(frame=(9, 2, 5))
    write_tracking(tmp_path / "tracked_flame_params.npz", result)
    tracking = nha.load_tracking(tmp_path)
    assert Path(tracking) == tracking.path == tmp_path / "tracked_flame_params.npz"
    assert (tracking.frame_ids, len(tracking), tracking.image_size) == ([2, 5, 9], 3, (96, 128))
    params = tracking.params(5)
    assert isinstance(params, nha.HeadParams)
    assert torch.equal(params.expr, torch.from_numpy(result.expr[2:]))
    assert torch.equal(tracking.params([5, 9]).jaw, torch.from_numpy(result.jaw_pose[[2, 0]]))
    camera = tracking.camera(5)
    assert isinstance(camera, nha.Camera)
    assert (len(camera), camera.image_size) == (1, (96, 128))
    assert repr(camera) == "Camera(intrinsics=[1, 3, 3], extrinsics=[1, 3, 4], image_size=(96, 128))"
    assert tracking.camera(5, (48, 64)).intrinsics[0, 0, 0] == pytest.approx(
        float(camera.intrinsics[0, 0, 0]) / 2
    )
    with pytest.raises(UserError, match="frame 3 was not tracked; choose among the frames 2, 5, 9"):
        tracking.params(3)


def test_one_loss_term_needs_no_list():
    term = Term("dark", max, weight=1.0)
    assert list_of(Term, term, "extra_terms") == list_of(Term, (term,), "extra_terms") == [term]


def test_parameters_are_replaced_by_tensors_of_the_same_shape(make_tracking, tmp_path):
    write_tracking(tmp_path / "tracked_flame_params.npz", make_tracking(frame=(2, 5)))
    params = nha.load_tracking(tmp_path).params(2)
    width = params.expr.shape[1]
    changed = params.replace(jaw=params.jaw + 0.1)
    assert torch.equal(changed.jaw, params.jaw + 0.1)
    assert changed.expr is params.expr
    with pytest.raises(UserError, match=rf"'expr' must have the shape \[N, {width}\], not \[1, 7\]"):
        params.replace(expr=torch.zeros(1, 7))
    with pytest.raises(UserError, match=r"'jaw' must be a tensor \[N, 3\], not ndarray"):
        params.replace(jaw=np.zeros((1, 3)))
