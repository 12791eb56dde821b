"""Imports a GLB in Blender and measures it; run by Blender's Python (`bpy`), not by pytest.

    python blender_script.py avatar.glb result.npz [image.png width height material_preview]

The result holds "facts" (JSON) and vertices [V, 3] in metres and in glTF's axes, by name of the pose.
"""

import json
import math
import sys
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

JAW_DEG = 20.0


def initial_weights(path: Path) -> list[float]:
    data = path.read_bytes()
    content = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    return content["meshes"][0].get("weights", [])


def vertices(mesh) -> np.ndarray:
    bpy.context.view_layer.update()
    evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    points = np.empty(3 * len(evaluated.data.vertices), np.float32)
    evaluated.data.vertices.foreach_get("co", points)
    world = np.array(evaluated.matrix_world)
    x, y, z = (points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]).T
    return np.stack([x, z, -y], 1)  # Blender has +z up


def facts(mesh, rig) -> dict:
    scene = bpy.context.scene
    keys = mesh.data.shape_keys
    return {
        "version": bpy.app.version_string,
        "objects": {o.name: [o.type, o.parent.name if o.parent else None] for o in bpy.data.objects},
        "bones": [bone.name for bone in rig.data.bones],
        "materials": {
            slot.name: sorted({node.type for node in slot.material.node_tree.nodes})
            for slot in mesh.material_slots
        },
        "faces": [polygon.material_index for polygon in mesh.data.polygons],
        "shape_keys": [block.name for block in keys.key_blocks] if keys else [],
        "custom_normals": mesh.data.has_custom_normals,
        "extras": {name: rig[name] for name in rig.keys()},  # noqa: SIM118 (not a dict)
        "action_frames": list(rig.animation_data.action.frame_range) if rig.animation_data else None,
        "slider_ranges": {k.name: [k.slider_min, k.slider_max] for k in keys.key_blocks} if keys else {},
        "unit_scale": scene.unit_settings.scale_length,
    }


def render(path: str, width: int, height: int) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 16, False
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = (
        width,
        height,
        100,
    )
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = path
    bpy.ops.render.render(write_still=True)


def main(source: str, result: str, *image: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = 25
    bpy.ops.import_scene.gltf(filepath=source)
    mesh, rig = bpy.data.objects["avatar"], bpy.data.objects["avatar_rig"]
    results = {"facts": json.dumps(facts(mesh, rig))}
    cameras = [o for o in bpy.data.objects if o.type == "CAMERA"]
    scene.camera = cameras[0] if cameras else None
    first, last = rig.animation_data.action.frame_range
    for frame in range(round(first), round(last) + 1):
        scene.frame_set(frame)
        results[f"frame_{frame}"] = vertices(mesh)
        if frame == 0 and image:
            render(image[0], int(image[1]), int(image[2]))
    rig.animation_data_clear()
    keys = mesh.data.shape_keys.key_blocks
    mesh.data.shape_keys.animation_data_clear()
    for block, weight in zip(list(keys)[1:], initial_weights(Path(source)), strict=True):
        block.slider_min, block.slider_max, block.value = -10, 10, weight
    for bone in rig.pose.bones:
        if bone.name != "root":
            bone.matrix_basis.identity()
    results["neutral"] = vertices(mesh)
    for block in list(keys)[1:]:
        before, block.value = block.value, block.value + 1
        results[f"key_{block.name}"] = vertices(mesh)
        if block.name in image[3:]:
            render(image[0].replace(".png", f"_{block.name}.png"), int(image[1]), int(image[2]))
        block.value = before
    jaw = rig.pose.bones["jaw"]
    # about the head's x axis, through the joint
    axis = (rig.pose.bones["root"].matrix @ rig.data.bones["root"].matrix_local.inverted()).to_3x3()
    turn = axis @ Matrix.Rotation(math.radians(JAW_DEG), 3, "X") @ axis.inverted()
    place = Matrix.Translation(jaw.head)
    jaw.matrix = place @ turn.to_4x4() @ place.inverted() @ jaw.matrix
    results["jaw"] = vertices(mesh)
    if image:
        render(image[0].replace(".png", "_jaw.png"), int(image[1]), int(image[2]))
    np.savez(result, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
