// The page: sliders, animation, orbit camera; with "#report=0,5" in the address images of these frames.
"use strict";

const DEGREES = Math.PI / 180;
// label, part of the pose, [axis, sign], limits in degrees
const JOINT_SLIDERS = [
  ["jaw open", "jaw", [[0, 1]], 0, 30],
  ["eyes down", "eyes", [[0, 1], [3, 1]], -25, 25],
  ["eyes to the side", "eyes", [[1, 1], [4, 1]], -30, 30],
  ["neck down", "neck", [[0, 1]], -25, 25],
  ["neck turned", "neck", [[1, 1]], -40, 40],
  ["neck tilted", "neck", [[2, 1]], -25, 25],
];

function limited(values, limits) {
  return values.map((v, i) => Math.min(Math.max(v, limits[i][0]), limits[i][1]));
}

class Controls {
  constructor(view, content, panel) {
    Object.assign(this, { view, content, panel, values: {}, frame: 0, playing: true, started: performance.now() });
    const play = this.button("pause", () => {
      this.playing = !this.playing;
      this.started = performance.now() - (1000 * Math.max(this.frame, 0)) / content.frameRate;
      play.textContent = this.playing ? "pause" : "play";
    });
    this.button("neutral pose", () => {
      this.frame = -1;
      this.playing = false;
      play.textContent = "play";
      this.changed = true;
    });
    this.button("reset sliders", () => {
      for (const input of panel.querySelectorAll("input.offset")) input.value = 0;
      this.values = {};
      this.changed = true;
    });
    this.time = this.slider("frame", 0, view.model.nFrames - 1, 1, (v) => {
      this.frame = v;
      this.playing = false;
      play.textContent = "play";
    });
    for (const row of JOINT_SLIDERS)
      this.slider(row[0], row[3], row[4], 0.5, (v) => (this.values[row[0]] = v)).className = "offset";
    for (const [name, low, high] of content.sliders)
      this.slider(name, low, high, 0.01, (v) => (this.values[name] = v)).className = "offset";
  }

  button(label, action) {
    const button = Object.assign(document.createElement("button"), { textContent: label, onclick: action });
    this.panel.append(button);
    return button;
  }

  slider(label, min, max, step, action) {
    const row = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "range", min, max, step, value: 0 });
    input.oninput = () => {
      action(Number(input.value));
      this.changed = true;
    };
    row.append(label, input);
    this.panel.append(row);
    return input;
  }

  pose() {
    const { model } = this.view;
    const pose = this.frame < 0 ? model.neutral() : model.frame(this.frame);
    for (const [name, part, axes] of JOINT_SLIDERS)
      for (const [axis, sign] of axes) pose[part][axis] += sign * DEGREES * (this.values[name] || 0);
    for (const part of ["jaw", "neck", "eyes"]) pose[part] = limited(pose[part], this.content.limits[part]);
    this.content.expressions.forEach((name, i) => (pose.expr[i] += this.values[name] || 0));
    return pose;
  }

  update() {
    if (this.playing) {
      const seconds = (performance.now() - this.started) / 1000;
      const frame = Math.floor(seconds * this.content.frameRate) % this.view.model.nFrames;
      if (frame !== this.frame) this.changed = true;
      this.frame = frame;
      this.time.value = frame;
    }
    if (this.changed) this.view.pose(this.pose());
    this.changed = false;
  }
}

function fit(view) {
  const { clientWidth, clientHeight } = view.renderer.domElement.parentElement;
  view.renderer.setPixelRatio(window.devicePixelRatio);
  view.renderer.setSize(clientWidth, clientHeight);
  view.camera.aspect = clientWidth / clientHeight;
  view.camera.updateProjectionMatrix();
}

// Sends images of frames as the tracker's camera sees them to the program that opened the page (page_images.py).
function report(view, content, frames) {
  const { size } = content.camera;
  view.renderer.setPixelRatio(1);
  view.renderer.setSize(size[1], size[0]);
  view.renderer.setClearColor(0xffffff, 0);
  const projection = view.setCamera(content.camera);
  view.camera.projectionMatrix.copy(projection);
  view.camera.projectionMatrixInverse.copy(projection).invert();
  const images = frames.map((i) => {
    view.pose(view.model.frame(i));
    view.draw();
    return { vertices: Array.from(view.model.vertices), png: view.renderer.domElement.toDataURL("image/png") };
  });
  return fetch("report", { method: "POST", body: JSON.stringify(images) });
}

async function main() {
  const content = JSON.parse(document.getElementById("avatar").textContent);
  const asked = new URLSearchParams(location.hash.slice(1)).get("report");
  const canvas = document.querySelector("canvas");
  const view = await AvatarView.create(content, canvas, !asked);
  document.getElementById("loading").remove();
  if (asked) return report(view, content, asked.split(",").map(Number));
  view.setCamera(content.camera);
  const controls = new Controls(view, content, document.querySelector("aside"));
  const orbit = new THREE.OrbitControls(view.camera, canvas);
  view.pose(view.model.frame(0));
  orbit.target.fromArray(view.model.eyeCentres()[0].map((v, c) => (v + view.model.eyeCentres()[1][c]) / 2));
  orbit.update();
  window.addEventListener("resize", () => fit(view));
  fit(view);
  const loop = () => {
    controls.update();
    view.draw();
    requestAnimationFrame(loop);
  };
  loop();
  window.avatar = { view, controls };
}

main().catch((error) => {
  if (location.hash.startsWith("#report")) fetch("report", { method: "POST", body: JSON.stringify(String(error)) });
  document.body.append(Object.assign(document.createElement("p"), { id: "error", textContent: String(error) }));
});
