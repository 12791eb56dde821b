"""Distributed training: two processes that share each batch give the result of one process."""

import torch

from nha.core.processes import BatchShare
from nha.optimization.datamodule import order_of_rank
from nha.optimization.sampling import parameter_noise, step_generator
from tests.optimization.conftest import as_options, with_data
from tests.optimization.test_sampling import zeros

# The order of sums differs, and Adam can turn rounding of a vanishing gradient into a step of the size of the learning
# rate. Weights may therefore differ by this share of a step.
TOLERANCE_STEPS = 0.05


def test_processes_together_have_the_frames_of_the_whole_batch():
    order = list(range(10, 21))
    parts = [order_of_rank(order, 2, process, 2) for process in (0, 1)]
    assert [len(part) for part in parts] == [6, 6]  # 11 frames: the first is used twice
    for start in range(0, 6, 2):
        together = parts[0][start : start + 2] + parts[1][start : start + 2]
        assert together == (order + order[:1])[2 * start : 2 * start + 4]
    assert order_of_rank(order, 4, 0, 1) == order


def test_processes_together_have_the_noise_of_the_whole_batch():
    whole = parameter_noise(zeros(4), 0.1, 5.0, step_generator(0, 3))
    for process in (0, 1):
        part = parameter_noise(zeros(2), 0.1, 5.0, step_generator(0, 3), BatchShare(process, 2))
        for name in ("expr", "rotation", "jaw", "translation"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[2 * process : 2 * process + 2])


def test_two_processes_train_like_one(make_settings, run_script, tmp_path):
    split = tmp_path / "split.json"
    split.write_text('{"train": [0, 1], "val": [2, 3]}')
    runs = {}
    for name, devices, size in (("one", 1, 2), ("two", 2, 1)):
        settings = with_data(make_settings((3, 2, 2), name), train_batch_size=(size,) * 3, split_config=split)
        run = run_script(
            "optimize_nha.py", *as_options(settings), "--devices", str(devices), new_process=True
        )
        assert run.returncode == 0, run.stderr[-3000:]
        runs[name] = (run, tmp_path / name)
    one, two = (
        torch.load(folder / "avatar.ckpt", weights_only=True)["state_dict"] for _, folder in runs.values()
    )
    assert one.keys() == two.keys()
    schedule = make_settings().schedule
    rates = {"offset_net": max(schedule.offset_lr), "texture_net": max(schedule.tex_lr)}
    moved = 0.0
    for name, value in one.items():
        if value.is_floating_point():
            network = next((rate for prefix, rate in rates.items() if prefix in name), None)
            limit = 1e-6 if network is None else TOLERANCE_STEPS * network
            assert (value - two[name]).abs().max() <= limit + 1e-5 * value.abs().max(), name
            moved += float((value - value.mean()).abs().sum())
    assert moved > 0
    log = runs["two"][0].stdout
    assert log.count("avatar: ") == 1
    logs = list((tmp_path / "two" / "logs").rglob("events.out.*"))
    assert len(logs) == len(list((tmp_path / "one" / "logs").rglob("events.out.*")))
