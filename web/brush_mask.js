/** Brush Mask: strokes painted on the picture. */

import { register } from "./lib/node_widget.js";
import { Painter } from "./lib/painter.js";

const HINT = "Run once: the picture appears here, and you paint on it.";

register("BrushMask", "SemanticEditBrushMask", (node) => new Painter(node, "Mask painter", "#ff3b30", HINT));
