/** Painting strokes on a stage: with a pointer, or with the arrow keys and Space. */

import { make, makeSvg, set } from "./dom.js";
import { drawStrokes, thinned } from "./strokes.js";

const STEP = 0.02;

export class Brush {
  /**
   * @param {object} stage the Stage it paints on.
   * @param {string} colour of the paint.
   * @param {() => object[]} read the strokes there are.
   * @param {(strokes: object[]) => void} write takes over changed strokes.
   * @param {() => number} ownRadius the radius of strokes that name none.
   */
  constructor(stage, colour, read, write, ownRadius = () => 0.06) {
    Object.assign(this, { stage, colour, read, write, ownRadius, erase: false, radius: 0.06, path: null, at: [0.5, 0.5] });
    this.slider = make("input", {
      type: "range", min: "0.01", max: "0.3", step: "0.005", value: "0.06", "aria-label": "Width of the brush",
      oninput: () => this.setRadius(Number(this.slider.value)),
    });
    this.sizeLabel = make("label", { title: "Width of the brush" }, "Width", this.slider);
    this.cursor = makeSvg("ellipse", { fill: "none", stroke: "#fff", "stroke-width": "1.5", "stroke-dasharray": "4 3" });
  }

  setRadius(radius) {
    this.radius = radius;
    this.draw();
  }

  press(place) {
    this.path = [place];
    this.hover(place);
  }

  move(place) {
    this.hover(place);
    if (!this.path) return;
    this.path.push(place);
    this.draw();
  }

  release() {
    if (!this.path) return;
    const points = thinned(this.path);
    this.path = null;
    this.write([...this.read(), { radius: this.signed(), points }]);
  }

  cancel() {
    this.path = null;
    this.draw();
  }

  hover(place) {
    this.at = place;
    this.showCursor();
  }

  /** @returns {boolean} whether the key was one of the brush's. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false; // Ctrl+Enter starts a run and paints nothing
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in moves) {
      const far = event.shiftKey ? 4 * STEP : STEP;
      this.hover(this.at.map((value, k) => Math.min(1, Math.max(0, value + far * moves[event.key][k]))));
    } else if (event.key === " " || event.key === "Enter") {
      this.write([...this.read(), { radius: this.signed(), points: [[...this.at]] }]);
    } else if (event.key === "[" || event.key === "]") {
      const next = Math.min(0.3, Math.max(0.01, this.radius * (event.key === "]" ? 1.2 : 1 / 1.2)));
      this.slider.value = String(next);
      this.setRadius(next);
    } else return false;
    event.preventDefault();
    return true;
  }

  signed() {
    return (this.erase ? -1 : 1) * this.radius;
  }

  draw() {
    const { canvas } = this.stage;
    const strokes = this.path ? [...this.read(), { radius: this.signed(), points: this.path }] : this.read();
    drawStrokes(canvas.getContext("2d"), strokes, canvas.width, canvas.height, this.ownRadius(), this.colour);
    this.showCursor();
  }

  showCursor() {
    const [width, height] = this.stage.drawn ?? [0, 0];
    const size = this.radius * height;
    set(this.cursor, { cx: this.at[0] * width, cy: this.at[1] * height, rx: size, ry: size });
    this.cursor.style.display = this.stage.size ? "" : "none";
  }
}
