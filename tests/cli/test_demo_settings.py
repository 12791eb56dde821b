"""What `nha demo --annotations` changes."""

from __future__ import annotations

from pathlib import Path

from nha.cli.demo import describe
from nha.cli.demo_subject import SubjectPaths, dataset_settings
from nha.cli.settings import DemoSettings
from nha.evaluation.demo_report import ANNOTATIONS, results_table

RESULT = {
    "name": "subject_1",
    "rotation_deg": 1.0,
    "translation_mm": 2.0,
    "landmark_px": 3.0,
    "vertex_mm": 4.0,
    "psnr": 5.0,
    "psnr_covered": 6.0,
    "ssim": 0.7,
    "silhouette_iou": 0.8,
    "tracking": {"translation_scaled_mm": {"mean": 1.5}, "vertex_scaled_mm": {"mean": 2.5}},
    "seconds": {"video": 9.0},
}


def test_annotations_are_the_truth_unless_they_are_estimated_from_whole_frames():
    paths = SubjectPaths(Path("demo"))
    truth, estimated = (
        dataset_settings(paths, DemoSettings(annotations=name)) for name in ("truth", "mediapipe")
    )
    assert (truth.estimators, truth.crop_to_head) == ("truth", "auto")
    assert (estimated.estimators, estimated.crop_to_head) == ("mediapipe", "false")
    assert describe(DemoSettings(annotations="mediapipe"))["annotations"] == "mediapipe"


def test_the_table_names_the_annotations():
    rows = [results_table([{**RESULT, "annotations": name}]).cells()[1] for name in ANNOTATIONS]
    assert rows == [["annotations", "ground truth"], ["annotations", "mediapipe"]]
