/** The undo and redo of an editor: one history, its keys, and its way over to the node that ComfyUI makes anew. */

import { History } from "./history.js";

// ComfyUI makes nodes anew when it undoes by itself and when another tab is opened; a person's steps stay theirs.
const histories = new Map(); // the node's way -> its History

export class Undo {
  /**
   * @param {object} node whose values are edited.
   * @param {HTMLElement} box in which the keys are the editor's.
   * @param {() => object} read the values as they are now.
   * @param {(values: object) => void} write puts values back.
   */
  constructor(node, box, read, write) {
    Object.assign(this, { node, read, write, history: new History(null) });
    box.addEventListener("keydown", (event) => this.key(event), { capture: true });
  }

  /** The node is in its place, with its values: its steps of before are known again. */
  settle() {
    const { way } = this;
    if (way && histories.has(way)) this.history = histories.get(way);
    this.follow();
  }

  /** The values have changed from outside. */
  follow() {
    this.history.follow(this.read());
  }

  /** A change by a person: what stands now comes after what stood. */
  push() {
    if (this.way) histories.set(this.way, this.history);
    this.history.push(this.read());
  }

  step(which) {
    const values = this.history[which]();
    if (values !== null) this.write(values);
  }

  get way() {
    const { graph, id, type } = this.node;
    return graph ? [(graph.rootGraph ?? graph).id, graph.id, id, type].join(" ") : "";
  }

  get canUndo() {
    return this.history.past.length > 0;
  }

  get canRedo() {
    return this.history.future.length > 0;
  }

  key(event) {
    if (event.target?.matches?.("input:not([type=range]), textarea")) return; // what is typed has an undo of its own
    if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
    const letter = event.key.toLowerCase();
    if (letter !== "z" && letter !== "y") return;
    const which = letter === "y" || event.shiftKey ? "redo" : "undo";
    keep(event);
    this.step(which);
  }
}

/**
 * Keeps an undo key from ComfyUI. It hears of every key first, on the window, before a pack is loaded, and reads one frame
 * later what it was: by then it was no undo.
 */
function keep(event) {
  event.preventDefault();
  event.stopImmediatePropagation();
  for (const held of ["ctrlKey", "metaKey"]) Object.defineProperty(event, held, { value: false });
}
