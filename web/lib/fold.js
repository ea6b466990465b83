/** Inputs that an editor writes: folded away under a button, since the picture says the same. */

import { button, set } from "./dom.js";
import { hide, inputWidget, isWired, recall, remember } from "./node_widget.js";

export class Fold {
  /**
   * @param {object} node
   * @param {string[]} names of its inputs.
   */
  constructor(node, names) {
    Object.assign(this, { node, names });
    this.button = button("Text", "Show the values that are written here", () => this.toggle());
  }

  toggle() {
    remember(this.node, "text", !this.open);
    this.apply();
  }

  get open() {
    return recall(this.node, "text", false);
  }

  /** Shows or hides the inputs; one that comes by wire stays in sight. */
  apply() {
    set(this.button, { "aria-pressed": String(this.open) });
    for (const name of this.names) hide(this.node, inputWidget(this.node, name), !this.open && !isWired(this.node, name));
  }
}
