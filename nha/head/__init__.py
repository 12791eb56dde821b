"""Head models. Files of any FLAME release are read into `HeadAssets`, from which a `HeadModel` is built.

The modules in reading order; each imports only modules above it:

1. `file_guide`: names, licences and sources of the files of a head model.
2. `assets`: the tables in those files as data classes.
3. `description`: `head.json`, the file in which a head model describes itself.
4. `flatten`: UV charts of surfaces.
5. `derived`: tables that replace missing files of FLAME.
6. `releases`: detection of FLAME's release.
7. `identity`: comparison of head models.
8. `assets_check`: checks of the values in these tables.
9. `model_files`: the model's own file in a folder.
10. `flame_files`: the reader of a head model's folder.
11. `procedural`: a head model generated from formulas, free of licences.
12. `load`: selection of a head model by name or folder.
13. `subdivide`, `soft_labels`, `topology`: the rendered mesh and its tables.
14. `joint_limits`, `joint_rotation_ops`, `joint_rotation_triton`, `joint_rotations`: angles inside their limits.
15. `lbs`, `mouth_features`: the other parts of the head model's forward pass.
16. `pose_ops`, `joint_triton`, `skin_triton`, `skinning`: joint transforms and skinning as kernels of a GPU.
17. `model`: `HeadModel`, from parameters to vertices and landmarks (`docs/method.md`, section 1).
18. `quick_pose`, `landmark_openings`: posing of one identity without gradient; openings of its mouth and eyes.
19. `arkit_shapes`, `arkit_map`: ARKit's 52 facial shapes, and their linear map to the parameters.
20. `describe`: a text report on a head model.
"""
