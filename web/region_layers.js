/** Region Layer Masks: see which parts and rows an edit uses, on the picture. Refine Masks: switch them on and off. */

import { make, set, widgetBox } from "./lib/dom.js";
import { isWired, pictureUrl, recall, register, remember, setValues, valueOf } from "./lib/node_widget.js";
import { readEdit, readRows, typedList } from "./lib/rows.js";
import { Undo } from "./lib/undo.js";

/** Parts down, rows across, each a button; cells say how far a part takes part in a row. */
class Table {
  constructor(toggle) {
    this.toggle = toggle;
    this.element = make("div", { class: "se-scroll", tabindex: "0", role: "group", "aria-label": "Parts and rows" });
  }

  draw(edit, onRow, onPart) {
    const focus = document.activeElement?.dataset?.key;
    const rows = Array.from({ length: edit.count }, (_, row) => row);
    const flip = (kind, key, text, on, usable) =>
      make("button", {
        type: "button", "aria-pressed": String(on), "data-key": `${kind} ${key}`, disabled: usable ? null : "",
        title: usable ? `${on ? "Leave out" : "Use"} ${kind} ${key}` : `${kind} ${key} is not used by this edit`,
        "aria-label": `${kind} ${key}`, onclick: () => this.toggle(kind, key),
      }, text);
    const head = make("tr", {}, make("th", { scope: "col" }, "row"));
    for (const row of rows) head.append(make("th", { scope: "col" }, flip("row", row, String(row), onRow(row), edit.rows.includes(row))));
    const body = (edit.parts.length ? edit.parts : ["everywhere"]).map((part, k) => {
      const usable = edit.parts.length > 0;
      const line = make("tr", {}, make("th", { scope: "row" }, usable ? flip("part", part, part, onPart(part), true) : part));
      for (const row of rows) {
        const weight = edit.rows.includes(row) ? (usable ? edit.weights[k]?.[row] ?? 0 : 100) : 0;
        const on = onRow(row) && (!usable || onPart(part));
        const shown = weight / 100 > edit.threshold && on ? weight : 0;
        const style = `background: rgba(86, 156, 255, ${shown ? 0.15 + (0.85 * shown) / 100 : 0.06})`;
        line.append(make("td", {}, make("div", { class: "se-heat", style, title: `${part}, row ${row}: ${shown} %` })));
      }
      return line;
    });
    this.element.replaceChildren(make("table", { class: "se-table" }, make("thead", {}, head), make("tbody", {}, ...body)));
    if (focus) this.element.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
  }
}

class LayerViewer {
  constructor(node) {
    this.node = node;
    this.height = 440;
    this.canvas = make("canvas", { role: "img", "aria-label": "Where the chosen rows and parts change the picture", style: "width: 100%; height: 100%; object-fit: contain" });
    this.hint = make("div", { class: "se-hint" }, "Run once: the masks appear here.");
    this.table = new Table((kind, key) => this.toggle(kind, key));
    this.status = make("div", { class: "se-status", role: "status" });
    this.element = widgetBox("Regions and layers of the edit");
    this.element.append(make("div", { class: "se-stage", style: "cursor: default" }, this.canvas, this.hint), this.table.element, this.status);
    this.off = { row: [], part: [] };
    this.undo = new Undo(node, this.element, () => this.off, (off) => this.turn(off));
  }

  changed() {
    this.off = recall(this.node, "off", { row: [], part: [] });
    this.undo.follow();
    this.draw();
  }

  async shown({ picture, rows, parts, edit }) {
    const readable = readEdit(edit?.[0]);
    if (!readable || !picture?.[0] || !rows?.[0]) return;
    this.edit = readable;
    const images = await Promise.all([picture, rows, parts].map((list) => (list?.[0] ? loaded(pictureUrl(list[0])) : null)));
    [this.picture, this.rows, this.parts] = images;
    this.draw();
  }

  toggle(kind, key) {
    const list = this.off[kind];
    const next = list.includes(key) ? list.filter((each) => each !== key) : [...list, key];
    this.turn({ ...this.off, [kind]: next });
    this.undo.push();
  }

  turn(off) {
    this.off = off;
    remember(this.node, "off", off);
    this.draw();
  }

  draw() {
    this.hint.style.display = this.picture ? "none" : "";
    if (!this.edit || !this.picture || !this.rows) return;
    const onRow = (row) => this.edit.rows.includes(row) && !this.off.row.includes(row);
    const onPart = (part) => !this.off.part.includes(part);
    this.table.draw(this.edit, onRow, onPart);
    const share = this.paint(onRow, onPart);
    this.status.textContent = `"${this.edit.prompt}": ${(100 * share).toFixed(0)} % of the picture can change. Bright is where.`;
  }

  /** The picture, dark where nothing that is switched on may change it. Returns the share that may. */
  paint(onRow, onPart) {
    const { count } = this.edit;
    const [width, height] = [this.rows.naturalWidth, this.rows.naturalHeight / count];
    const rows = pixels(this.rows);
    const mask = new Float32Array(width * height);
    for (let row = 0; row < count; row++) {
      if (!onRow(row)) continue;
      for (let k = 0; k < mask.length; k++) mask[k] = Math.max(mask[k], rows[4 * (row * mask.length + k)] / 255);
    }
    if (this.parts && this.edit.parts.some((part) => !onPart(part))) {
      const labels = pixels(this.parts);
      for (let k = 0; k < mask.length; k++) {
        let inside = 0;
        this.edit.parts.forEach((part, p) => (inside += onPart(part) ? labels[4 * (p * mask.length + k)] / 255 : 0));
        mask[k] *= Math.min(1, inside);
      }
    }
    this.canvas.width = this.picture.naturalWidth;
    this.canvas.height = this.picture.naturalHeight;
    const context = this.canvas.getContext("2d");
    const veil = make("canvas", { width: String(width), height: String(height) });
    const dark = new ImageData(width, height);
    let sum = 0;
    mask.forEach((value, k) => {
      dark.data[4 * k + 3] = 215 * (1 - value);
      sum += value;
    });
    veil.getContext("2d").putImageData(dark, 0, 0);
    context.drawImage(this.picture, 0, 0);
    context.drawImage(veil, 0, 0, this.canvas.width, this.canvas.height);
    return sum / mask.length;
  }
}

/** The same table, whose switches are the node's own inputs `rows` and `drop_parts`. */
class MaskRefiner {
  constructor(node) {
    this.node = node;
    this.height = 300;
    this.table = new Table((kind, key) => this.toggle(kind, key));
    this.status = make("div", { class: "se-status", role: "status" });
    this.element = widgetBox("Parts and rows that may change");
    this.element.append(this.table.element, this.status);
    this.undo = new Undo(node, this.element, () => this.typed(), (values) => this.write(values));
  }

  typed() {
    return { rows: valueOf(this.node, "rows"), drop_parts: valueOf(this.node, "drop_parts") };
  }

  write(values) {
    setValues(this.node, values);
    this.changed();
  }

  shown({ edit }) {
    if (!edit?.[0]) return;
    remember(this.node, "edit", edit[0]);
    this.changed();
  }

  changed() {
    this.undo.follow();
    const edit = readEdit(recall(this.node, "edit"));
    this.status.textContent = "Run once: the parts and rows of the edit appear here.";
    set(this.status, { "data-kind": null });
    if (!edit) return;
    const rows = readRows(valueOf(this.node, "rows"), edit);
    this.table.draw(edit, (row) => (rows ?? edit.rows).includes(row), (part) => !this.dropped().includes(part));
    const unknown = this.dropped().filter((name) => !edit.parts.includes(name));
    if (!rows) this.warn(`The rows '${valueOf(this.node, "rows")}' are kept as they are typed.`);
    else if (!rows.length) this.warn(`None of the rows '${valueOf(this.node, "rows")}' is used by this edit.`);
    else if (unknown.length) this.warn(`No part of this edit: ${unknown.join(", ")}. Press a part, or change drop_parts.`);
    else this.status.textContent = `"${edit.prompt}": a pressed part or row may change.`;
  }

  dropped() {
    return typedList(valueOf(this.node, "drop_parts"));
  }

  toggle(kind, key) {
    if (isWired(this.node, kind === "row" ? "rows" : "drop_parts")) return;
    const edit = readEdit(recall(this.node, "edit"));
    if (!edit) return;
    if (kind === "part") {
      const now = this.dropped().filter((name) => edit.parts.includes(name)); // not those of another edit
      const next = now.includes(key) ? now.filter((name) => name !== key) : [...now, key];
      if (edit.parts.every((part) => next.includes(part))) return this.warn("One part has to stay.");
      setValues(this.node, { drop_parts: next.join(", ") });
    } else {
      const now = readRows(valueOf(this.node, "rows"), edit);
      if (!now) return;
      const next = now.includes(key) ? now.filter((row) => row !== key) : [...now, key].sort((a, b) => a - b);
      if (!next.length) return this.warn("One row has to stay.");
      const all = edit.rows.every((row) => next.includes(row));
      setValues(this.node, { rows: all ? "as trained" : next.join(", ") });
    }
    this.undo.push();
    this.changed();
  }

  warn(text) {
    this.status.textContent = text;
    set(this.status, { "data-kind": "warning" });
  }
}

function loaded(url) {
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => resolve(null);
    image.src = url;
  });
}

function pixels(image) {
  const canvas = make("canvas", { width: String(image.naturalWidth), height: String(image.naturalHeight) });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}

register("RegionLayers", "SemanticEditRegionLayerMasks", (node) => new LayerViewer(node));
register("RefineMasks", "SemanticEditRefineMasks", (node) => new MaskRefiner(node));
