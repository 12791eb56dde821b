// The parts of three.js that avatar.html uses.
export {
  BufferAttribute,
  BufferGeometry,
  DataArrayTexture,
  DoubleSide,
  GLSL3,
  LinearFilter,
  Matrix4,
  Mesh,
  PerspectiveCamera,
  RawShaderMaterial,
  REVISION,
  Scene,
  Vector3,
  WebGLRenderer,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
