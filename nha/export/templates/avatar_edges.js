// Antialiasing at silhouettes, as nha/render/antialias_reference.py does it: where two neighbouring pixels show different
// faces, the shader walks over the mesh from the nearer one to the edge at which the surface ends, and blends the
// pixels by where that edge crosses between their centres. docs/method.md, section 2.
"use strict";

const EDGE_VERTEX_SHADER = `
precision highp float;
in vec3 position;
void main() { gl_Position = vec4(position, 1.0); }`;

const EDGE_FRAGMENT_SHADER = `
precision highp float;
precision highp int;
uniform sampler2D colours, ids; // of each pixel; an id is the face's number + 1 in three bytes, 0 for none
uniform sampler2D screen; // of each vertex: pixels from the left and from the top, metres from the camera
uniform sampler2D faces, neighbours; // of each face: its corners; 1 + the face across each edge, 0 for none
uniform ivec2 size;
out vec4 colour;

const int MAX_STEPS = 64, EDGE_ON = 0, NOT_DRAWN = 2;
const int LOST = 0, SILHOUETTE = 1, CONNECTED = 2, PASSED = 3;
const float SLACK = 1e-3, MIN_AREA = 1e-4, MIN_DEPTH = 1e-8;

ivec2 place(int i, sampler2D table) { int width = textureSize(table, 0).x; return ivec2(i % width, i / width); }
vec3 vertexAt(int v) { return texelFetch(screen, place(v, screen), 0).xyz; }
ivec3 cornersOf(int face) { return ivec3(texelFetch(faces, place(face, faces), 0).xyz + 0.5); }
ivec3 neighboursOf(int face) { return ivec3(texelFetch(neighbours, place(face, neighbours), 0).xyz + 0.5) - 1; }
bool outside(ivec2 p) { return any(lessThan(p, ivec2(0))) || any(greaterThanEqual(p, size)); }
ivec2 texel(ivec2 p) { return ivec2(p.x, size.y - 1 - p.y); } // pixels are counted from the top
vec4 colourAt(ivec2 p) { return texelFetch(colours, texel(p), 0); }
int faceAt(ivec2 p) {
  ivec3 bytes = ivec3(texelFetch(ids, texel(p), 0).xyz * 255.0 + 0.5);
  return bytes.x + 256 * bytes.y + 65536 * bytes.z - 1;
}

int facing(int face) {
  if (face < 0) return NOT_DRAWN;
  ivec3 corners = cornersOf(face);
  vec3 a = vertexAt(corners.x), b = vertexAt(corners.y), c = vertexAt(corners.z);
  if (min(a.z, min(b.z, c.z)) <= MIN_DEPTH) return NOT_DRAWN;
  float area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
  return area > MIN_AREA ? 1 : area < -MIN_AREA ? -1 : EDGE_ON;
}

float depthOf(int face, vec2 at) {
  ivec3 corners = cornersOf(face);
  vec3 a = vertexAt(corners.x), b = vertexAt(corners.y), c = vertexAt(corners.z);
  vec3 shares = vec3(
    (b.x - at.x) * (c.y - at.y) - (b.y - at.y) * (c.x - at.x),
    (c.x - at.x) * (a.y - at.y) - (c.y - at.y) * (a.x - at.x),
    (a.x - at.x) * (b.y - at.y) - (a.y - at.y) * (b.x - at.x));
  return (shares.x + shares.y + shares.z) / dot(shares, 1.0 / vec3(a.z, b.z, c.z));
}

float crossing(int low, int high, vec2 centre, int axis) {
  vec3 from = vertexAt(low), to = vertexAt(high);
  float share = (centre[1 - axis] - from[1 - axis]) / (to[1 - axis] - from[1 - axis]);
  return from[axis] + share * (to[axis] - from[axis]) - centre[axis];
}

// How the walk from a face towards another one ends; edge: the vertices of the last edge that it crossed.
int walk(int face, int goal, vec2 centre, int axis, bool forward, out ivec2 edge) {
  int side = facing(face);
  edge = ivec2(-1);
  if (any(equal(neighboursOf(face), ivec3(goal))) && facing(goal) == side) return CONNECTED;
  for (int i = 0; i < MAX_STEPS; i++) {
    ivec3 corners = cornersOf(face), across = neighboursOf(face);
    float position = -1e30;
    ivec2 crossed = ivec2(-1);
    int next = -1;
    for (int k = 0; k < 3; k++) {
      int v = corners[k], w = corners[(k + 1) % 3];
      bool vLow = vertexAt(v)[1 - axis] < centre[1 - axis], wLow = vertexAt(w)[1 - axis] < centre[1 - axis];
      if (vLow == wLow) continue;
      ivec2 ends = vLow ? ivec2(v, w) : ivec2(w, v);
      if (ends == edge) continue;
      float x = crossing(ends.x, ends.y, centre, axis);
      x = forward ? x : 1.0 - x;
      if (x > position) { position = x; crossed = ends; next = across[k]; }
    }
    edge = crossed;
    if (position < -SLACK) return LOST;
    if (position > 1.0 + SLACK) return PASSED;
    int following = facing(next);
    if (following == NOT_DRAWN || following * side < 0) return SILHOUETTE;
    if (next == goal) return CONNECTED;
    if (side == EDGE_ON) side = following;
    face = next;
  }
  return LOST;
}

// Place of the silhouette between two neighbouring pixels, -0.5 at the first and 0.5 at the second; 0 where none is.
float silhouette(ivec2 first, ivec2 second, int axis) {
  int a = faceAt(first), b = faceAt(second);
  if (a == b) return 0.0;
  vec2 centre = vec2(first) + 0.5;
  bool forward = b < 0 || (a >= 0 && depthOf(a, centre) <= depthOf(b, vec2(second) + 0.5));
  int near = forward ? a : b, far = forward ? b : a;
  ivec2 edge;
  int ending = walk(near, far, centre, axis, forward, edge);
  if (ending == PASSED && far >= 0) ending = walk(far, near, centre, axis, !forward, edge);
  if (ending != SILHOUETTE) return 0.0;
  vec2 run = abs(vertexAt(edge.y).xy - vertexAt(edge.x).xy);
  bool steep = axis == 1 ? run.y < run.x : run.x <= run.y;
  return steep ? crossing(edge.x, edge.y, centre, axis) - 0.5 : 0.0;
}

void main() {
  ivec2 own = ivec2(int(gl_FragCoord.x), size.y - 1 - int(gl_FragCoord.y));
  vec4 value = colourAt(own), change = vec4(0.0);
  float total = 0.0;
  for (int k = 0; k < 4; k++) {
    int axis = k / 2;
    bool isSecond = k % 2 == 0;
    ivec2 step = axis == 0 ? ivec2(1, 0) : ivec2(0, 1);
    ivec2 other = isSecond ? own - step : own + step;
    if (outside(other)) continue;
    float s = isSecond ? silhouette(other, own, axis) : silhouette(own, other, axis);
    if ((s > 0.0) != isSecond) continue;
    change += abs(s) * (colourAt(other) - value);
    total += abs(s);
  }
  colour = value + change / max(total, 1.0);
}`;

// A table [n, 3] as a texture, one texel for each row.
class TableTexture {
  constructor(n) {
    this.width = Math.min(n, 1024);
    this.values = new Float32Array(4 * this.width * Math.ceil(n / this.width));
    this.texture = new THREE.DataTexture(this.values, this.width, this.values.length / (4 * this.width));
    this.texture.type = THREE.FloatType;
  }

  fill(rows) {
    for (let i = 0; 3 * i < rows.length; i++)
      for (let c = 0; c < 3; c++) this.values[4 * i + c] = rows[3 * i + c];
    this.texture.needsUpdate = true;
    return this.texture;
  }
}

class SilhouettePass {
  constructor(model) {
    const { faces, neighbours } = model.a;
    this.model = model;
    this.screen = new TableTexture(model.nVertices);
    this.projected = new Float32Array(3 * model.nVertices);
    this.target = new THREE.WebGLRenderTarget(1, 1, {
      count: 2, minFilter: THREE.NearestFilter, magFilter: THREE.NearestFilter,
    });
    const [colours, ids] = this.target.textures;
    this.uniforms = {
      colours: { value: colours }, ids: { value: ids }, screen: { value: this.screen.texture },
      faces: { value: new TableTexture(faces.length / 3).fill(faces) },
      neighbours: { value: new TableTexture(faces.length / 3).fill(neighbours) },
      size: { value: new THREE.Vector2() },
    };
    const material = new THREE.RawShaderMaterial({
      uniforms: this.uniforms, vertexShader: EDGE_VERTEX_SHADER, fragmentShader: EDGE_FRAGMENT_SHADER,
      glslVersion: THREE.GLSL3, depthTest: false, depthWrite: false,
    });
    const triangle = new THREE.BufferGeometry(); // covers the whole image
    triangle.setAttribute("position", new THREE.BufferAttribute(new Float32Array([-1, -1, 0, 3, -1, 0, -1, 3, 0]), 3));
    const mesh = new THREE.Mesh(triangle, material);
    mesh.frustumCulled = false;
    this.scene = new THREE.Scene();
    this.scene.add(mesh);
  }

  render(renderer, scene, camera) {
    const size = renderer.getDrawingBufferSize(this.uniforms.size.value);
    this.target.setSize(size.x, size.y);
    renderer.setRenderTarget(this.target);
    renderer.render(scene, camera);
    renderer.setRenderTarget(null);
    this.project(camera, size);
    renderer.render(this.scene, camera);
  }

  project(camera, { x: width, y: height }) {
    const { vertices, nVertices } = this.model;
    const v = camera.matrixWorldInverse.elements; // column by column
    const p = camera.projectionMatrix.elements;
    for (let i = 0; i < 3 * nVertices; i += 3) {
      const [x, y, z] = [0, 1, 2].map((r) =>
        v[r] * vertices[i] + v[4 + r] * vertices[i + 1] + v[8 + r] * vertices[i + 2] + v[12 + r]);
      this.projected[i] = (width / 2) * (1 + (p[0] * x + p[8] * z) / -z);
      this.projected[i + 1] = (height / 2) * (1 - (p[5] * y + p[9] * z) / -z);
      this.projected[i + 2] = -z;
    }
    this.screen.fill(this.projected);
  }
}
