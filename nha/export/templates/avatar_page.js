// Draws the avatar with three.js; controls, animation, and images for the export's report.
"use strict";

const VERTEX_SHADER = `
precision highp float;
uniform mat4 viewMatrix, projectionMatrix;
uniform vec3 eyeCentres[2];
in vec3 position, normal;
in vec2 uv;
in float eyeball, face;
flat out float vFace;
out vec3 vNormal;
out vec2 vUv;
void main() {
  vec4 p = viewMatrix * vec4(position, 1.0);
  gl_Position = projectionMatrix * p;
  if (eyeball > 0.5) {
    // An eyeball's front is drawn almost at the depth of its back, so that lids which it intersects are in front.
    vec3 centre = (viewMatrix * vec4(eyeCentres[eyeball > 1.5 ? 1 : 0], 1.0)).xyz;
    vec3 ray = normalize(p.xyz);
    float chord = 0.9 * max(0.0, 2.0 * dot(centre - p.xyz, ray));
    vec4 back = projectionMatrix * vec4(p.xyz + chord * ray, 1.0);
    gl_Position.z = back.z / back.w * gl_Position.w;
  }
  vec3 n = mat3(viewMatrix) * normal;
  vNormal = vec3(n.x, -n.y, n.z); // the light's axes: x right, y down, z to the camera
  vUv = uv;
  vFace = face;
}`;

// colour = (mean + sum of weight * basis image) * light; all images hold offset + scale * value,
// the mean is the sum of its images
const FRAGMENT_SHADER = `
precision highp float;
precision highp sampler2DArray;
uniform sampler2DArray meanMap;
uniform vec3 meanOffset[MEAN], meanScale[MEAN], light[8];
in vec3 vNormal;
in vec2 vUv;
flat in float vFace;
layout(location = 0) out vec4 colour;
layout(location = 1) out vec4 id; // the face's number + 1 in three bytes
#if BASIS > 0
uniform sampler2DArray basisMap;
uniform vec3 basisOffset[BASIS], basisScale[BASIS];
uniform float weights[BASIS];
#endif
void main() {
  vec3 rgb = vec3(0.0);
  for (int k = 0; k < MEAN; k++)
    rgb += meanOffset[k] + meanScale[k] * texture(meanMap, vec3(vUv, float(k))).rgb * 255.0;
#if BASIS > 0
  for (int k = 0; k < BASIS; k++)
    rgb += weights[k] * (basisOffset[k] + basisScale[k] * texture(basisMap, vec3(vUv, float(k))).rgb * 255.0);
#endif
  vec3 n = vNormal / max(length(vNormal), 1e-6);
  rgb *= 1.0 + light[0] * n.x + light[1] * n.y + light[2] * n.z + light[3] * n.x * n.y + light[4] * n.x * n.z
    + light[5] * n.y * n.z + light[6] * (n.x * n.x - n.y * n.y) + light[7] * (3.0 * n.z * n.z - 1.0);
  colour = vec4(clamp(rgb, 0.0, 1.0), 1.0);
  int number = int(vFace + 0.5) + 1;
  id = vec4(ivec4(number % 256, number / 256 % 256, number / 65536, 255)) / 255.0;
}`;

async function pixels(image) {
  const bytes = Uint8Array.from(atob(image.png), (c) => c.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none" });
  const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return new Uint8Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
}

// A texture array of the images that lie below each other in a PNG file.
async function arrayTexture(image) {
  const texture = new THREE.DataArrayTexture(await pixels(image), image.size, image.size, image.offset.length);
  Object.assign(texture, { magFilter: THREE.LinearFilter, minFilter: THREE.LinearFilter, needsUpdate: true });
  return texture;
}

async function makeMaterial(map, blend, eyeCentres) {
  const vectors = (rows) => rows.map((row) => new THREE.Vector3(...row));
  const light = blend ? blend.light : Array(8).fill([0, 0, 0]);
  const uniforms = {
    meanMap: { value: await arrayTexture(map.mean) },
    meanOffset: { value: vectors(map.mean.offset) },
    meanScale: { value: vectors(map.mean.scale) },
    light: { value: vectors(light) },
    eyeCentres,
  };
  const count = map.basis ? map.basis.offset.length : 0;
  if (count) {
    uniforms.basisMap = { value: await arrayTexture(map.basis) };
    uniforms.basisOffset = { value: vectors(map.basis.offset) };
    uniforms.basisScale = { value: vectors(map.basis.scale) };
    uniforms.weights = { value: Array(count).fill(0) };
  }
  return new THREE.RawShaderMaterial({
    uniforms, vertexShader: VERTEX_SHADER, fragmentShader: FRAGMENT_SHADER, defines: { MEAN: map.mean.offset.length, BASIS: count },
    glslVersion: THREE.GLSL3, side: THREE.DoubleSide,
  });
}

// --- drawing ---

class AvatarView {
  static async create(content, canvas, smooth) {
    const view = new AvatarView();
    view.model = new AvatarModel(content, await readArrays(content));
    view.eyeCentres = { value: [new THREE.Vector3(), new THREE.Vector3()] };
    view.scene = new THREE.Scene();
    view.materials = [];
    view.parts = [];
    for (const [number, map] of content.maps.entries()) {
      view.materials.push(await makeMaterial(map, content.blend, view.eyeCentres));
      view.addPart(number);
    }
    // the published model's images have no blended edges; the browser may smooth them
    view.renderer = new THREE.WebGLRenderer({ canvas, antialias: smooth && !content.blend, alpha: true });
    view.edges = content.blend ? new SilhouettePass(view.model) : null;
    view.camera = new THREE.PerspectiveCamera(20, 1, 0.1, 10);
    return view;
  }

  // Adds the faces of a texture map; every face has its own three vertices, which carry its number.
  addPart(number) {
    const { a } = this.model;
    const corners = a[`corners${number}`];
    const faces = Array.from(a.faceMap.keys()).filter((face) => a.faceMap[face] === number);
    const attribute = (array, n) => new THREE.BufferAttribute(array, n);
    const named = {
      position: attribute(new Float32Array(3 * corners.length), 3),
      normal: attribute(new Float32Array(3 * corners.length), 3),
      uv: attribute(Float32Array.from({ length: 2 * corners.length }, (_, i) => a.uvs[2 * corners[i >> 1] + (i & 1)]), 2),
      eyeball: attribute(Float32Array.from(corners, (corner) => a.eyeball[a.vertex[corner]]), 1),
      face: attribute(Float32Array.from(corners, (_, i) => faces[Math.floor(i / 3)]), 1),
    };
    const geometry = new THREE.BufferGeometry();
    for (const [name, values] of Object.entries(named)) geometry.setAttribute(name, values);
    const mesh = new THREE.Mesh(geometry, this.materials[number]);
    mesh.frustumCulled = false;
    this.scene.add(mesh);
    this.parts.push({ ...named, vertices: corners.map((corner) => a.vertex[corner]) });
  }

  pose(pose) {
    this.model.pose(pose);
    for (const { position, normal, vertices } of this.parts)
      for (const [attribute, values] of [[position, this.model.vertices], [normal, this.model.normals]]) {
        for (let i = 0; i < vertices.length; i++)
          for (let c = 0; c < 3; c++) attribute.array[3 * i + c] = values[3 * vertices[i] + c];
        attribute.needsUpdate = true;
      }
    this.model.eyeCentres().forEach((centre, i) => this.eyeCentres.value[i].set(...centre));
  }

  draw() {
    this.camera.updateMatrixWorld();
    const m = this.camera.matrixWorld.elements; // column by column; x right, y up, z backward
    const axes = [-m[0], m[4], -m[8], -m[1], m[5], -m[9], -m[2], m[6], -m[10]];
    this.model.imageWeights(axes).forEach((weights, i) => {
      if (this.materials[i].uniforms.weights) this.materials[i].uniforms.weights.value = weights;
    });
    if (this.edges) this.edges.render(this.renderer, this.scene, this.camera);
    else this.renderer.render(this.scene, this.camera);
  }

  // Places the camera like the tracker's.
  setCamera({ intrinsics: k, extrinsics: e, size: [height, width] }) {
    const r = [0, 1, 2].map((i) => e[i].slice(0, 3));
    const position = r.map((row) => -(row[0] * e[0][3] + row[1] * e[1][3] + row[2] * e[2][3]));
    const matrix = new THREE.Matrix4();
    matrix.set(...r.flatMap((row, i) => [-row[0], row[1], -row[2], position[i]]), 0, 0, 0, 1);
    matrix.decompose(this.camera.position, this.camera.quaternion, this.camera.scale);
    this.camera.fov = (360 / Math.PI) * Math.atan(height / (2 * k[1][1]));
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    const [near, far] = [this.camera.near, this.camera.far];
    return new THREE.Matrix4().set(
      (2 * k[0][0]) / width, 0, 1 - (2 * k[0][2]) / width, 0,
      0, (2 * k[1][1]) / height, 1 - (2 * k[1][2]) / height, 0,
      0, 0, (far + near) / (near - far), (2 * far * near) / (near - far),
      0, 0, -1, 0,
    );
  }
}
