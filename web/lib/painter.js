/** A picture with a brush, whose strokes live in one text input of the node. Base of Brush Mask and Paint Concept. */

import { Brush } from "./brush.js";
import { button, make, radioRow, set, widgetBox } from "./dom.js";
import { isWired, pictureUrl, recall, remember, setValues, valueOf } from "./node_widget.js";
import { differs, signature, Stage } from "./stage.js";
import { formatStrokes, parseStrokes } from "./strokes.js";
import { Undo } from "./undo.js";

const INPUT = "strokes";
const ANOTHER = "The picture has changed since these strokes were painted: look whether they still fit.";

export class Painter {
  constructor(node, label, colour, hint) {
    this.node = node;
    this.hint = hint;
    this.height = 380;
    this.strokes = [];
    this.stage = new Stage("The picture to paint on", {
      press: (place) => this.canEdit && this.brush.press(place),
      move: (place) => this.brush.move(place),
      release: () => this.brush.release(),
      cancel: () => this.brush.cancel(),
      hover: (place) => this.brush.hover(place),
      draw: () => this.draw(),
    });
    const ownRadius = () => Number(valueOf(node, "radius", 0.06)) || 0.06;
    this.brush = new Brush(this.stage, colour, () => this.strokes, (strokes) => this.commit(strokes), ownRadius);
    this.modes = radioRow("What the brush does", [["paint", "Paint", "Paint"], ["erase", "Erase", "Take away"]], (mode) => {
      this.brush.erase = mode === "erase";
      this.modes.show(mode);
    });
    this.modes.show("paint");
    this.undoButton = button("Undo", "Undo (Ctrl+Z)", () => this.undo.step("undo"));
    this.redoButton = button("Redo", "Redo (Ctrl+Y)", () => this.undo.step("redo"));
    this.clearButton = button("Clear", "Remove all strokes", () => this.canEdit && this.commit([]));
    const tools = make("div", { class: "se-row", role: "group", "aria-label": "Tools" });
    tools.append(this.modes, this.undoButton, this.redoButton, this.clearButton, this.brush.sizeLabel, ...this.stage.zoomRow);
    this.status = make("div", { class: "se-status", role: "status" });
    this.element = widgetBox(label);
    this.element.append(tools, this.stage.element, this.status);
    this.undo = new Undo(node, this.element, () => valueOf(node, INPUT), (value) => this.write(value));
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.stage.loaded = () => this.pictureIsThere();
    this.stage.failed = () => this.changed();
    this.stage.svg.append(this.brush.cursor);
  }

  shown({ picture }) {
    if (picture?.[0]) this.stage.show(pictureUrl(picture[0]));
  }

  pictureIsThere() {
    const now = signature(this.stage.image);
    this.another = this.strokes.length > 0 && differs(recall(this.node, "seen"), now);
    this.seen = now;
    this.changed();
  }

  changed() {
    const found = parseStrokes(valueOf(this.node, INPUT));
    this.problem = isWired(this.node, INPUT) ? "The strokes come by wire; they are not changed here." : found.problem;
    this.strokes = found.strokes;
    this.undo.follow();
    this.draw();
  }

  get canEdit() {
    return !this.problem && Boolean(this.stage.size);
  }

  commit(strokes) {
    const value = formatStrokes(strokes);
    if (this.seen) remember(this.node, "seen", this.seen);
    this.another = false;
    setValues(this.node, { [INPUT]: value });
    this.undo.push();
    this.changed();
  }

  write(value) {
    setValues(this.node, { [INPUT]: value });
    this.changed();
  }

  key(event) {
    if (event.key === "Escape") this.brush.cancel();
    else if (event.target === this.stage.element && this.canEdit && this.brush.key(event)) return;
    else return;
    event.preventDefault();
  }

  draw() {
    if (!this.undo) return;
    this.brush.draw();
    this.stage.say(this.stage.size ? "" : this.hint);
    this.undoButton.disabled = !this.undo.canUndo;
    this.redoButton.disabled = !this.undo.canRedo;
    this.clearButton.disabled = !this.canEdit || !this.strokes.length;
    const count = this.strokes.length;
    const warning = this.problem || (this.another ? ANOTHER : "");
    const text = warning || (count ? `${count === 1 ? "1 stroke" : `${count} strokes`}.` : "No strokes yet.");
    if (this.status.textContent !== text) this.status.textContent = text;
    set(this.status, { "data-kind": warning ? "warning" : null });
  }
}
