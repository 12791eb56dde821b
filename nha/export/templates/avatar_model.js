// The avatar's geometry and weights: from a pose to vertices, normals and the weights of basis images.
// A pose has expression coefficients, angles of the joints (axis-angle, radians) and the root's place (metres).
"use strict";

const TYPES = { float32: Float32Array, int16: Int16Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };

async function readArrays(content) {
  const packed = Uint8Array.from(atob(content.data), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  return Object.fromEntries(content.arrays.map((a) => [a.name, new TYPES[a.type](buffer, a.start, a.size)]));
}

// --- rotations: 3 x 3 matrices, row by row ---

function rotationMatrix(x, y, z) {
  const angle = Math.hypot(x, y, z);
  const s = angle < 1e-8 ? 1 : Math.sin(angle) / angle;
  const c = angle < 1e-8 ? 0.5 : (1 - Math.cos(angle)) / (angle * angle);
  return [
    1 - c * (y * y + z * z), c * x * y - s * z, c * x * z + s * y,
    c * x * y + s * z, 1 - c * (x * x + z * z), c * y * z - s * x,
    c * x * z - s * y, c * y * z + s * x, 1 - c * (x * x + y * y),
  ];
}

function multiply(a, b) {
  const m = new Array(9);
  for (let i = 0; i < 3; i++)
    for (let j = 0; j < 3; j++) m[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
  return m;
}

const transpose = (m) => [m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]];
const apply = (m, v) => [0, 3, 6].map((i) => m[i] * v[0] + m[i + 1] * v[1] + m[i + 2] * v[2]);

function rotationVector(m) {
  // the largest component of the quaternion is computed first
  const squares = [1 + m[0] + m[4] + m[8], 1 + m[0] - m[4] - m[8], 1 - m[0] + m[4] - m[8], 1 - m[0] - m[4] + m[8]];
  const i = squares.indexOf(Math.max(...squares));
  const rows = [
    [squares[0], m[7] - m[5], m[2] - m[6], m[3] - m[1]],
    [m[7] - m[5], squares[1], m[1] + m[3], m[2] + m[6]],
    [m[2] - m[6], m[1] + m[3], squares[2], m[5] + m[7]],
    [m[3] - m[1], m[2] + m[6], m[5] + m[7], squares[3]],
  ];
  const q = rows[i].map((v) => (v / (2 * Math.sqrt(squares[i]))) * (rows[i][0] < 0 ? -1 : 1));
  const length = Math.hypot(q[1], q[2], q[3]);
  const factor = length > 1e-7 ? (2 * Math.atan2(length, q[0])) / length : 2;
  return q.slice(1).map((v) => v * factor);
}

const FACING = rotationMatrix(0, Math.PI, 0); // a head that looks at a camera with the world's axes

// --- the model ---

class AvatarModel {
  constructor(content, arrays) {
    Object.assign(this, { content, a: arrays, blend: content.blend });
    this.nVertices = arrays.rest.length / 3;
    this.nExpressions = content.expressions.length;
    this.nFrames = arrays.frameJaws.length / 3;
    this.shaped = new Float64Array(arrays.rest.length);
    this.vertices = new Float64Array(arrays.rest.length);
    this.normals = new Float64Array(arrays.rest.length);
  }

  neutral() {
    const zeros = (n) => new Array(n).fill(0);
    return { expr: zeros(this.nExpressions), rotation: [0, Math.PI, 0], translation: this.frame(0).translation,
      neck: zeros(3), jaw: zeros(3), eyes: zeros(6) };
  }

  frame(i) {
    const row = (name, n) => Array.from(this.a[name].subarray(n * i, n * (i + 1)));
    return { expr: row("frameExpressions", this.nExpressions), rotation: row("frameRotations", 3),
      translation: row("frameTranslations", 3), neck: row("frameNecks", 3), jaw: row("frameJaws", 3),
      eyes: row("frameEyes", 6) };
  }

  // Poses the head: sets `vertices` and `normals`. Afterwards `imageWeights(camera)` may be called.
  pose(pose) {
    const { a, content } = this;
    const angles = [pose.rotation, pose.neck, pose.jaw, pose.eyes.slice(0, 3), pose.eyes.slice(3)];
    const rotations = angles.map((v) => rotationMatrix(...v));
    this.transforms = this.jointTransforms(rotations, pose);
    const feature = rotations.slice(1).flatMap((m) => m.map((v, i) => v - (i % 4 === 0 ? 1 : 0)));
    const plainWeights = [...pose.expr, ...content.correctives.map((k, i) => feature[k] - a.bindFeature[i])];
    this.shaped.set(a.rest);
    plainWeights.forEach((weight, i) => this.addTarget(i, weight));
    this.worldFromHead = multiply(rotations[0], rotations[1]);
    if (this.blend) {
      this.drive = [...this.distances(), ...pose.jaw, pose.eyes[0], pose.eyes[1], pose.eyes[3], pose.eyes[4], ...pose.neck];
      const z = this.scaledDrive(null);
      for (let k = 0; k < content.shapes; k++) {
        let weight = 0;
        for (let i = 0; i < z.length; i++) weight += a.shapeWeights[k * z.length + i] * z[i];
        this.addTarget(plainWeights.length + k, weight);
      }
    }
    for (let v = 0; v < this.nVertices; v++) this.skin(v, this.shaped, 3 * v, this.vertices, 3 * v);
    this.computeNormals();
  }

  jointTransforms(rotations, pose) {
    const { a, content } = this;
    const rest = rotations.map((_, j) => [0, 1, 2].map((c) => {
      let value = a.joints[3 * j + c];
      for (let e = 0; e < this.nExpressions; e++) value += pose.expr[e] * a.jointDirections[15 * e + 3 * j + c];
      return value;
    }));
    const world = [];
    rotations.forEach((rotation, j) => {
      const parent = content.parents[j];
      if (parent < 0) return world.push({ r: rotation, p: pose.translation });
      const bone = apply(world[parent].r, rest[j].map((v, c) => v - rest[parent][c]));
      world.push({ r: multiply(world[parent].r, rotation), p: bone.map((v, c) => v + world[parent].p[c]) });
    });
    return world.map(({ r, p }, j) => ({ r, t: apply(r, rest[j]).map((v, c) => p[c] - v) }));
  }

  addTarget(target, weight) {
    const { a, shaped } = this;
    const step = weight * a.morphScales[target];
    if (step === 0) return;
    for (let i = a.morphStart[target]; i < a.morphStart[target + 1]; i++) {
      const v = 3 * a.morphRows[i];
      shaped[v] += step * a.morphSteps[3 * i];
      shaped[v + 1] += step * a.morphSteps[3 * i + 1];
      shaped[v + 2] += step * a.morphSteps[3 * i + 2];
    }
  }

  skin(vertex, from, at, to, toAt) {
    const { influences, weights } = this.a;
    const [x, y, z] = [from[at], from[at + 1], from[at + 2]];
    let [u, v, w] = [0, 0, 0];
    for (let k = 4 * vertex; k < 4 * vertex + 4; k++) {
      if (weights[k] === 0) continue;
      const { r, t } = this.transforms[influences[k]];
      u += weights[k] * (r[0] * x + r[1] * y + r[2] * z + t[0]);
      v += weights[k] * (r[3] * x + r[4] * y + r[5] * z + t[1]);
      w += weights[k] * (r[6] * x + r[7] * y + r[8] * z + t[2]);
    }
    to[toAt] = u;
    to[toAt + 1] = v;
    to[toAt + 2] = w;
  }

  // Distances in metres between landmarks of the head without offsets; see nha/avatar/drive.py.
  distances() {
    const { landmarkCorners: corners, landmarkBarycentric: shares, landmarkOffsets: offsets } = this.a;
    const points = [];
    const rest = new Float64Array(3);
    const posed = new Float64Array(3);
    for (let i = 0; i < corners.length; i += 3) {
      const point = [0, 0, 0];
      for (let k = i; k < i + 3; k++) {
        for (let c = 0; c < 3; c++) rest[c] = this.shaped[3 * corners[k] + c] - offsets[3 * k + c];
        this.skin(corners[k], rest, 0, posed, 0);
        for (let c = 0; c < 3; c++) point[c] += shares[k] * posed[c];
      }
      points.push(point);
    }
    const result = [];
    for (let i = 0; i < points.length; i += 2)
      result.push(Math.hypot(...points[i].map((v, c) => v - points[i + 1][c])));
    return result;
  }

  // The scaled drive vector; camera: rotation of the camera's axes (x left, y up, z forward) in the world, or null.
  scaledDrive(camera) {
    const head = camera ? multiply(transpose(camera), this.worldFromHead) : this.worldFromHead;
    const raw = [...this.drive, ...rotationVector(multiply(transpose(FACING), head))];
    const { drive_mean: mean, drive_scale: scale, drive_low: low, drive_high: high } = this.a;
    return raw.map((v, i) => (Math.min(Math.max(v, low[i]), high[i]) - mean[i]) / scale[i]);
  }

  // The weights of the basis images: [of the head's map, of the mouth's map].
  imageWeights(camera) {
    if (!this.blend) return [[], []];
    const layer = (input, weight, bias) => Array.from(bias, (b, j) =>
      input.reduce((sum, v, i) => sum + v * weight[j * input.length + i], b));
    const hidden = layer(this.scaledDrive(camera), this.a.hiddenWeight, this.a.hiddenBias).map(Math.tanh);
    const weights = layer(hidden, this.a.outputWeight, this.a.outputBias);
    return [weights.slice(0, this.blend.basis), weights.slice(this.blend.basis)];
  }

  // Area-weighted vertex normals.
  computeNormals() {
    const { vertices: p, normals: n } = this;
    const { faces } = this.a;
    n.fill(0);
    for (let f = 0; f < faces.length; f += 3) {
      const [i, j, k] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
      const [ax, ay, az] = [p[j] - p[i], p[j + 1] - p[i + 1], p[j + 2] - p[i + 2]];
      const [bx, by, bz] = [p[k] - p[i], p[k + 1] - p[i + 1], p[k + 2] - p[i + 2]];
      const [x, y, z] = [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
      for (const v of [i, j, k]) {
        n[v] += x;
        n[v + 1] += y;
        n[v + 2] += z;
      }
    }
    for (let v = 0; v < n.length; v += 3) {
      const length = Math.max(Math.hypot(n[v], n[v + 1], n[v + 2]), 1e-6);
      n[v] /= length;
      n[v + 1] /= length;
      n[v + 2] /= length;
    }
  }

  // Centre of each eyeball, which is drawn behind its lids.
  eyeCentres() {
    return [1, 2].map((side) => {
      const sum = [0, 0, 0];
      let count = 0;
      for (let v = 0; v < this.nVertices; v++) {
        if (this.a.eyeball[v] !== side) continue;
        count++;
        for (let c = 0; c < 3; c++) sum[c] += this.vertices[3 * v + c];
      }
      return sum.map((v) => v / Math.max(count, 1));
    });
  }
}
