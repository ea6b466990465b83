/** Paint Concept: a palette of the dissected concepts, a brush, and how strongly. */

import { make, radioRow } from "./lib/dom.js";
import { recall, register, remember, setValues, valueOf } from "./lib/node_widget.js";
import { Painter } from "./lib/painter.js";

const HINT = "Connect the picture to 'images' and run once: it appears here, and you paint on it.";
const MOST = 500; // concepts that are shown; a stranger's workflow may name any number
const COLOURS = ["#ff5d5d", "#ffb43b", "#ffe14d", "#5ddc7a", "#45c8f0", "#5b8dff", "#b07bff", "#ff7bd0", "#c9a27a"];

class ConceptPainter extends Painter {
  constructor(node) {
    super(node, "Concept painter", COLOURS[0], HINT);
    this.height = 460;
    const choose = (name) => (value) => {
      setValues(node, { [name]: value });
      this.changed();
    };
    this.palette = radioRow("Concept", [], choose("concept"));
    this.actions = radioRow("Action", [["insert", "Insert", "Put the concept there"], ["remove", "Remove", "Take it away"]], choose("action"));
    this.levels = radioRow("Level", [["low", "Low"], ["medium", "Medium"], ["high", "High"], ["number", "Number", "As many units as the input says"]], choose("level"));
    const row = make("div", { class: "se-row" });
    row.append(this.actions, this.levels);
    this.element.prepend(this.palette, row);
  }

  shown(values) {
    const names = values.concepts?.[0];
    if (names?.length) {
      remember(this.node, "concepts", names);
      this.changed();
    }
    super.shown(values);
  }

  changed() {
    if (this.palette) this.showChoices();
    super.changed();
  }

  showChoices() {
    const concept = String(valueOf(this.node, "concept")).trim();
    const recalled = recall(this.node, "concepts");
    const known = Array.isArray(recalled) ? recalled.slice(0, MOST).map(String) : [];
    const names = known.includes(concept) || !concept ? known : [concept, ...known];
    if (names.join() !== this.names) {
      this.names = names.join();
      this.palette.fill(names.map((name) => [name, name, `Paint ${name}`]));
    }
    this.palette.show(concept);
    this.actions.show(valueOf(this.node, "action"));
    this.levels.show(valueOf(this.node, "level"));
    this.brush.colour = COLOURS[Math.max(0, known.indexOf(concept)) % COLOURS.length];
  }
}

register("PaintConcept", "SemanticEditPaintConcept", (node) => new ConceptPainter(node));
