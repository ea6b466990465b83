/** Drag Points: handles and targets on the example's picture, and a brush for the region that may change. */

import { Brush } from "./lib/brush.js";
import { button, make, makeSvg, radioRow, set, widgetBox } from "./lib/dom.js";
import { isWired, pictureUrl, recall, register, remember, setValues, valueOf } from "./lib/node_widget.js";
import { formatPoints, parsePoints } from "./lib/points.js";
import { differs, signature, Stage } from "./lib/stage.js";
import { formatStrokes, parseStrokes } from "./lib/strokes.js";
import { Fold } from "./lib/fold.js";
import { Undo } from "./lib/undo.js";

const VALUES = ["points", "units", "canvas_width", "canvas_height", "strokes"]; // the node's inputs that it writes
const MOST = 64;
const CLICK = 6; // px of the screen: a shorter pull is a click
const GRIP = 12; // px of the screen within which an end is caught

class DragEditor {
  constructor(node) {
    this.node = node;
    this.height = 430;
    this.ownPicture = true;
    this.onTop = true;
    this.fold = new Fold(node, VALUES);
    this.drags = [];
    this.strokes = [];
    this.mode = "points";
    this.chosen = null; // [index, "from" | "to"]
    this.pending = null; // the drag that is being pulled or waits for its target
    this.stage = new Stage("The example's picture", {
      press: (...each) => this.press(...each),
      move: (...each) => this.move(...each),
      release: (...each) => this.release(...each),
      cancel: () => this.cancel(),
      hover: (place) => this.mode !== "points" && this.brush.hover(place),
      draw: () => this.draw(),
    });
    this.brush = new Brush(this.stage, "#37d67a", () => this.strokes, (strokes) => this.commit(this.drags, strokes));
    this.modes = radioRow("What the pointer does", [
      ["points", "Points", "Pull points to where they should go"],
      ["region", "Region", "Paint where the picture may change"],
      ["erase", "Erase", "Take some of the painted region away"],
    ], (mode) => this.setMode(mode));
    this.undoButton = button("Undo", "Undo (Ctrl+Z)", () => this.undo.step("undo"));
    this.redoButton = button("Redo", "Redo (Ctrl+Y)", () => this.undo.step("redo"));
    this.addButton = button("Add", "Add a drag in the middle of the picture", () => this.add());
    this.deleteButton = button("Delete", "Delete the chosen drag (Delete)", () => this.remove());
    this.clearButton = button("Clear", "Remove all drags, or the whole region", () => this.clear());
    this.status = make("div", { class: "se-status", role: "status" });
    this.tools = make("div", { class: "se-row", role: "group", "aria-label": "Tools" });
    this.tools.append(this.undoButton, this.redoButton, this.addButton, this.deleteButton, this.clearButton, this.brush.sizeLabel, ...this.stage.zoomRow, this.fold.button);
    this.element = widgetBox("Drag editor");
    this.element.append(this.modes, this.tools, this.stage.element, this.status);
    this.undo = new Undo(node, this.element, () => this.snapshot(), (values) => this.putBack(values));
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.stage.loaded = (size) => this.pictureIsThere(size);
    this.stage.failed = () => this.changed();
    this.setMode("points");
  }

  /** What the node has sent after a run. */
  shown({ picture }) {
    if (picture?.[0]) this.stage.show(pictureUrl(picture[0]));
  }

  pictureIsThere() {
    this.hasPicture = true;
    const now = signature(this.stage.image);
    this.another = this.drags.length > 0 && differs(recall(this.node, "seen"), now);
    this.seen = now;
    this.changed();
  }

  /** The node's values have changed, by typing, by loading or by the editor itself. */
  changed() {
    this.fold.apply();
    const [width, height] = [valueOf(this.node, "canvas_width", 0), valueOf(this.node, "canvas_height", 0)];
    const canvas = width > 0 && height > 0 ? [width, height] : this.hasPicture ? this.stage.size : null;
    const points = parsePoints(valueOf(this.node, "points"), valueOf(this.node, "units", "auto"), canvas);
    const strokes = parseStrokes(valueOf(this.node, "strokes"));
    const wired = ["points", "targets"].some((name) => isWired(this.node, name));
    this.problem = wired ? "The points come by wire; they are not changed here." : points.problem || strokes.problem;
    this.canvas = points.canvas;
    this.drags = points.drags;
    this.strokes = strokes.strokes;
    this.undo.follow();
    if (!this.hasPicture) this.stage.blank(points.canvas); // null: points that said a size were taken back
    if (this.chosen && this.chosen[0] >= this.drags.length) this.chosen = null;
    this.draw();
  }

  snapshot() {
    return Object.fromEntries(VALUES.map((name) => [name, valueOf(this.node, name)]));
  }

  get canEdit() {
    return !this.problem && Boolean(this.stage.size);
  }

  commit(drags, strokes) {
    const canvas = this.hasPicture ? this.stage.size : this.canvas;
    this.drags = drags;
    this.strokes = strokes;
    const values = { strokes: formatStrokes(strokes) };
    const points = formatPoints(drags, canvas);
    // Points that nobody moved stay as they were typed.
    if (points !== formatPoints(this.read(), canvas)) {
      Object.assign(values, { points, units: "pixels", canvas_width: canvas[0], canvas_height: canvas[1] });
      if (this.seen) remember(this.node, "seen", this.seen);
      this.another = false;
    }
    this.writeAll(values);
  }

  read() {
    const [width, height] = [valueOf(this.node, "canvas_width", 0), valueOf(this.node, "canvas_height", 0)];
    const canvas = width > 0 && height > 0 ? [width, height] : this.stage.size;
    return parsePoints(valueOf(this.node, "points"), valueOf(this.node, "units", "auto"), canvas).drags;
  }

  writeAll(values) {
    setValues(this.node, values);
    this.undo.push();
    this.changed();
  }

  putBack(values) {
    setValues(this.node, values);
    this.changed();
  }

  setMode(mode) {
    this.mode = mode;
    this.brush.erase = mode === "erase";
    this.modes.show(mode);
    this.pending = null;
    this.draw();
  }

  caught([x, y]) {
    const [rx, ry] = this.stage.reach(GRIP);
    let best = null;
    this.drags.forEach((drag, index) => {
      for (const end of ["to", "from"]) {
        const far = Math.hypot((drag[end][0] - x) / rx, (drag[end][1] - y) / ry);
        if (far <= 1 && (!best || far < best.far)) best = { index, end, far };
      }
    });
    return best && [best.index, best.end];
  }

  press(place, event, awake) {
    if (!this.canEdit) return;
    if (this.mode !== "points") return this.brush.press(place);
    if (this.pending?.waits) {
      this.pending.drag.to = inside(place);
      return this.draw();
    }
    this.begun = [event.clientX, event.clientY];
    this.woken = !awake;
    this.chosen = this.caught(place);
    if (this.chosen) this.pending = { end: this.chosen[1], index: this.chosen[0], drag: copy(this.drags[this.chosen[0]]) };
    else if (this.drags.length < MOST) this.pending = { end: "to", drag: { from: inside(place), to: inside(place) } };
    this.draw();
  }

  move(place) {
    if (this.mode !== "points") return this.brush.move(place);
    if (!this.pending) return;
    this.pending.drag[this.pending.end] = inside(place);
    this.draw();
  }

  release(place, event) {
    if (this.mode !== "points") return this.brush.release();
    if (!this.pending) return this.draw();
    const { drag, index, waits } = this.pending;
    const pulled = this.begun && Math.hypot(event.clientX - this.begun[0], event.clientY - this.begun[1]) > CLICK;
    if (index !== undefined) {
      this.pending = null;
      if (pulled) this.commit(this.drags.map((each, k) => (k === index ? drag : each)), this.strokes);
      else this.draw();
    } else if (pulled || waits) {
      this.pending = null;
      this.chosen = [this.drags.length, "to"];
      this.commit([...this.drags, drag], this.strokes);
    } else if (this.woken) {
      this.cancel(); // a click that came to the picture from elsewhere
    } else {
      this.pending.waits = true; // a click: the next one says where it goes
      this.draw();
    }
  }

  cancel() {
    this.pending = null;
    this.brush.cancel();
    this.draw();
  }

  add() {
    if (!this.canEdit || this.drags.length >= MOST) return;
    this.chosen = [this.drags.length, "to"];
    this.commit([...this.drags, { from: [0.5, 0.5], to: [0.6, 0.5] }], this.strokes);
    this.focusChosen();
  }

  remove() {
    if (!this.chosen || !this.canEdit) return;
    const [index] = this.chosen;
    this.chosen = null;
    this.commit(this.drags.filter((_, k) => k !== index), this.strokes);
    this.stage.element.focus({ preventScroll: true });
  }

  clear() {
    if (!this.canEdit) return;
    this.chosen = null;
    if (this.mode === "points") this.commit([], this.strokes);
    else this.commit(this.drags, []);
  }

  key(event) {
    if (event.key === "Escape") this.cancel();
    else if (!this.stage.element.contains(event.target)) return;
    else if (event.key === "Delete" || event.key === "Backspace") this.remove();
    else if (this.mode !== "points" && this.canEdit && this.brush.key(event)) return;
    else if (this.chosen && event.key.startsWith("Arrow")) this.nudge(event);
    else return;
    event.preventDefault();
  }

  nudge(event) {
    if (!this.canEdit) return;
    const [index, end] = this.chosen;
    const far = event.shiftKey ? 10 : 1;
    const [dx, dy] = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    const drag = copy(this.drags[index]);
    const canvas = this.stage.size;
    drag[end] = inside([drag[end][0] + dx / canvas[0], drag[end][1] + dy / canvas[1]]);
    this.commit(this.drags.map((each, k) => (k === index ? drag : each)), this.strokes);
    this.focusChosen();
  }

  focusChosen() {
    this.stage.svg.querySelector("[data-chosen]")?.focus({ preventScroll: true });
  }

  draw() {
    if (!this.undo) return;
    const focused = this.stage.svg.contains(document.activeElement);
    const drags = this.pending?.index === undefined && this.pending ? [...this.drags, this.pending.drag] : [...this.drags];
    if (this.pending?.index !== undefined) drags[this.pending.index] = this.pending.drag;
    const marks = drags.flatMap((drag, index) => this.marks(drag, index));
    if (this.mode !== "points") marks.push(this.brush.cursor);
    this.stage.svg.replaceChildren(...marks);
    this.brush.draw();
    if (focused) this.focusChosen();
    this.stage.say(this.stage.size ? "" : "Run once: the example appears here, and you pull on it.");
    this.brush.sizeLabel.style.display = this.mode === "points" ? "none" : "";
    this.undoButton.disabled = !this.undo.canUndo;
    this.redoButton.disabled = !this.undo.canRedo;
    this.addButton.disabled = !this.canEdit || this.drags.length >= MOST;
    this.deleteButton.disabled = !this.canEdit || !this.chosen;
    this.clearButton.disabled = !this.canEdit || !(this.mode === "points" ? this.drags : this.strokes).length;
    this.speak();
  }

  marks(drag, index) {
    const [width, height] = this.stage.drawn ?? [1, 1];
    const thin = 1 / this.stage.zoom;
    const at = ([x, y]) => [x * width, y * height];
    const [from, to] = [at(drag.from), at(drag.to)];
    const line = { x1: from[0], y1: from[1], x2: to[0], y2: to[1], "stroke-linecap": "round" };
    const canvas = this.stage.size ?? [1, 1];
    const ends = ["from", "to"].map((end) => {
      const [x, y] = end === "from" ? from : to;
      const chosen = this.chosen?.[0] === index && this.chosen[1] === end;
      const where = drag[end].map((value, k) => Math.round(value * canvas[k]));
      return makeSvg("g", {
        class: "se-point", tabindex: "0", role: "button", transform: `translate(${x} ${y}) scale(${thin})`,
        "aria-label": `${end === "from" ? "Handle" : "Target"} of drag ${index + 1} at ${where.join(", ")}`,
        "data-chosen": chosen ? "" : null,
        onfocus: () => this.choose(index, end),
      },
        makeSvg("circle", { class: "se-ring", r: chosen ? 9 : 7, fill: end === "from" ? "#e33d3d" : "#2f7fe6", stroke: chosen ? "#ffe66b" : "#fff", "stroke-width": chosen ? 3 : 2 }),
        makeSvg("text", { y: 3.5, "text-anchor": "middle", "font-size": 10, "font-weight": 700, fill: "#fff", "aria-hidden": "true" }, String(index + 1)));
    });
    return [
      makeSvg("line", { ...line, stroke: "#000", "stroke-opacity": 0.6, "stroke-width": 4 * thin }),
      makeSvg("line", { ...line, stroke: "#ffd84d", "stroke-width": 2 * thin }),
      ...ends,
    ];
  }

  choose(index, end) {
    if (this.chosen?.[0] === index && this.chosen[1] === end) return;
    this.chosen = [index, end];
    this.draw();
    this.focusChosen();
  }

  speak() {
    const count = this.drags.length;
    let text = `${count === 1 ? "1 drag" : `${count} drags`}${this.strokes.length ? ", with a region" : ""}.`;
    let kind = "";
    if (this.problem) [text, kind] = [this.problem, "warning"];
    else if (this.another) [text, kind] = ["The picture has changed since these points were set: look whether they still fit.", "warning"];
    else if (this.pending?.waits) text = "Now click where it should go. Escape takes it back.";
    else if (!this.stage.size) text = count ? text : "No picture yet.";
    else if (!this.hasPicture) text += " The picture appears after a run.";
    else if (!count && this.mode === "points") text = "Pull from a spot to where it should go.";
    else if (this.mode === "region" && !this.strokes.length) text = "Paint where the picture may change; without a region it may everywhere.";
    if (this.status.textContent !== text) this.status.textContent = text;
    set(this.status, { "data-kind": kind || null });
  }
}

function inside([x, y]) {
  return [Math.min(1, Math.max(0, x)), Math.min(1, Math.max(0, y))];
}

function copy(drag) {
  return { from: [...drag.from], to: [...drag.to] };
}

register("DragPoints", "SemanticEditDragPoints", (node) => new DragEditor(node));
