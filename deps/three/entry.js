// The parts of three.js that avatar.html uses.
export {
  BufferAttribute,
  BufferGeometry,
  DataArrayTexture,
  DataTexture,
  DoubleSide,
  FloatType,
  GLSL3,
  LinearFilter,
  Matrix4,
  Mesh,
  NearestFilter,
  PerspectiveCamera,
  RawShaderMaterial,
  REVISION,
  Scene,
  Vector2,
  Vector3,
  WebGLRenderer,
  WebGLRenderTarget,
} from "three";
export { OrbitControls } from "three/addons/controls/OrbitControls.js";
