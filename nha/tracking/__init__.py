"""Tracking: head pose, expression, identity, albedo, light and camera of every frame of a video.

`tracker.track_dataset(TrackingSettings(...))` is the entry. Reading order, which is the order in which a run uses the
modules: `settings`, `tracker`, then `batched` (or `sequential`, the published mode), which show the stages.

- Input: `frames` (images and landmarks), `timeline` (shots and neighbours), `state` (the unknowns).
- The energy of all stages: `energy`.
- Stages from landmarks: `landmark_stages`, `camera_init`, `keyframes`, `landmark_fit`, with the least-squares problem
  in `reprojection`, `landmark_model`, `landmark_unknowns`, `landmark_priors`, `landmark_offsets`, `head_rig` and
  `least_squares`.
- The parsing's outline and ears in these stages: `outline_stage`, `outlines`, `outline_match`, `surface_points`.
- Stages from images: `stages` (as data), `photometric_fit`, `photometric`, `appearance`, `unwrap`.
- Output: `progress` and `output_files` (saving and resuming), `stage_times`, `report`, `tensorboard_log`.
- Tracking files of other programs: `exchange`.
"""
