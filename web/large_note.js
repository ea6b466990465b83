/** Large Note: a text as large as its box has room for, readable at every zoom. It lives in the page alone. */

import { app } from "../../scripts/app.js";
import { make, widgetBox } from "./lib/dom.js";
import { largestSize, noteBlocks } from "./lib/note_text.js";

const TYPE = "SemanticEditLargeNote";
const HINT = "# Title\nDouble-click to write. The text becomes as large as the note has room for.";

class NoteText {
  constructor(node) {
    this.node = node;
    this.value = HINT;
    this.text = make("div", {
      class: "se-note", tabindex: "0", role: "note", title: "Double-click to change the text",
      ondblclick: () => this.edit(),
      onkeydown: (event) => event.key === "Enter" && !event.ctrlKey && !event.metaKey && this.edit(event),
    });
    this.area = make("textarea", { class: "se-note-area", "aria-label": "Text of the note", hidden: "", onblur: () => this.done() });
    this.element = widgetBox("Large note");
    this.element.append(this.text, this.area);
    new ResizeObserver(() => this.fit()).observe(this.element);
    this.draw();
  }

  write(value) {
    this.value = String(value ?? "");
    this.draw();
  }

  draw() {
    const blocks = noteBlocks(this.value).map(({ level, runs }) => {
      const words = runs.map(({ text, strong }) => (strong ? make("strong", {}, text) : text));
      return make("p", { class: level ? "se-note-title" : null }, ...words);
    });
    this.text.replaceChildren(...blocks);
    this.fit();
  }

  fit() {
    const { text } = this;
    if (!text.clientHeight) return;
    const size = largestSize((size) => {
      text.style.fontSize = `${size}px`;
      return text.scrollHeight <= text.clientHeight && text.scrollWidth <= text.clientWidth;
    });
    text.style.fontSize = `${size}px`;
  }

  edit(event) {
    event?.preventDefault();
    this.area.value = this.value;
    this.area.hidden = false;
    this.text.hidden = true;
    this.area.focus();
  }

  done() {
    this.area.hidden = true;
    this.text.hidden = false;
    if (this.area.value === this.value) return;
    this.write(this.area.value);
    this.node.graph?.change?.();
  }
}

app.registerExtension({
  name: "SemanticEdit.LargeNote",
  registerCustomNodes() {
    const { LiteGraph } = globalThis;
    class LargeNote extends (globalThis.LGraphNode ?? LiteGraph.LGraphNode) {
      constructor(title = "Large Note") {
        super(title);
        this.isVirtualNode = true; // it has no part in a run
        this.serialize_widgets = true;
        const part = new NoteText(this);
        this.addDOMWidget("text", "semantic_edit_note", part.element, {
          hideOnZoom: false,
          getMinHeight: () => 120,
          getValue: () => part.value,
          setValue: (value) => part.write(value),
        });
        this.setSize([480, 320]);
      }
    }
    LiteGraph.registerNodeType(TYPE, Object.assign(LargeNote, { title: "Large Note", title_mode: LiteGraph.NORMAL_TITLE, collapsable: true }));
    LargeNote.category = "Semantic Edit";
  },
});
