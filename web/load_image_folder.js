/** Load Image Folder: which files of the folder were left out, and why; there is nothing to see while all were read. */

import { make, widgetBox } from "./lib/dom.js";
import { hide, register } from "./lib/node_widget.js";

class LeftOut {
  constructor(node) {
    this.node = node;
    this.height = 72;
    this.text = make("div", { class: "se-scroll se-status", role: "status", "data-kind": "warning", style: "white-space: pre-line" });
    this.element = widgetBox("Files that were left out");
    this.element.append(this.text);
  }

  changed() {
    if (!this.text.textContent) hide(this.node, this.widget, true);
  }

  shown({ left_out: [lines = []] = [], passed_over: [others = ""] = [] }) {
    const head = lines.length ? [`${lines.length === 1 ? "1 file was" : `${lines.length} files were`} left out:`] : [];
    this.text.textContent = [...head, ...lines, ...(others ? [others] : [])].join("\n");
    hide(this.node, this.widget, !this.text.textContent);
  }
}

register("LoadImageFolder", "SemanticEditLoadImageFolder", (node) => new LeftOut(node));
