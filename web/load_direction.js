/** Load Direction: the library of edits as cards with thumbnails. */

import { make, set, widgetBox } from "./lib/dom.js";
import { apiUrl, fetchJson, inputWidget, isWired, register, setValues, valueOf } from "./lib/node_widget.js";
import { Undo } from "./lib/undo.js";

const FOLDER = "semantic_edit_directions";
const SUFFIX = ".safetensors";

class DirectionBrowser {
  constructor(node) {
    this.node = node;
    this.height = 250;
    this.places = new Map(); // file name -> number of the folder that has it, for its thumbnail
    this.search = make("input", {
      type: "search", placeholder: "Search edits", "aria-label": "Search edits", style: "flex: 1; min-width: 60px",
      oninput: () => this.draw(),
    });
    this.refresh = make("button", { type: "button", title: "Look for new files", onclick: () => this.look() }, "Refresh");
    this.cards = make("div", { class: "se-cards", role: "radiogroup", "aria-label": "Edits" });
    this.status = make("div", { class: "se-status", role: "status" });
    this.element = widgetBox("Library of edits");
    this.element.append(make("div", { class: "se-row" }, this.search, this.refresh), this.cards, this.status);
    this.undo = new Undo(node, this.element, () => String(valueOf(node, "file")), (file) => this.write(file));
    new ResizeObserver(() => this.scroll()).observe(this.cards);
    this.cards.addEventListener("keydown", (event) => this.key(event));
    this.look();
  }

  /** ComfyUI's own list of a model folder says where each file lies; its own preview route has the picture beside it. */
  async look() {
    try {
      const files = await fetchJson(`/experiment/models/${FOLDER}`);
      this.places = new Map();
      for (const { name, pathIndex } of files) {
        const path = name.replaceAll("\\", "/");
        if (!this.places.has(path)) this.places.set(path, pathIndex);
      }
    } catch {
      this.places = new Map(); // names without pictures, then
    }
    this.scrolledTo = null; // pictures make cards higher
    this.draw();
  }

  files() {
    const listed = inputWidget(this.node, "file")?.options?.values ?? [];
    const names = (typeof listed === "function" ? listed() : listed).map((name) => name.replaceAll("\\", "/"));
    const all = new Set([...names.filter((name) => name.endsWith(SUFFIX)), ...[...this.places.keys()].filter((name) => name.endsWith(SUFFIX))]);
    return [...all].sort((a, b) => a.localeCompare(b));
  }

  changed() {
    this.undo.follow();
    this.draw();
  }

  draw() {
    const chosen = String(valueOf(this.node, "file"));
    const wired = isWired(this.node, "file");
    const files = this.files();
    const wanted = this.search.value.trim().toLowerCase();
    const shown = files.filter((file) => file.toLowerCase().includes(wanted));
    const missing = chosen && !files.includes(chosen.replaceAll("\\", "/"));
    const key = JSON.stringify([shown, chosen, wired, [...this.places]]);
    if (key === this.drawn) return;
    this.drawn = key;
    const focus = document.activeElement?.dataset?.file;
    this.cards.replaceChildren(...shown.map((file) => this.card(file, file === chosen.replaceAll("\\", "/"), wired)));
    if (!this.cards.querySelector("[tabindex='0']") && this.cards.firstChild) set(this.cards.firstChild, { tabindex: "0" });
    if (focus) this.cards.querySelector(`[data-file="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
    this.scroll();
    let text = `${shown.length} of ${files.length} edits.`;
    if (wired) text = "The file comes by wire.";
    else if (!files.length) text = "No edits yet: Save Direction makes them, or put files into models/semantic_edit/directions.";
    else if (missing) text = `'${chosen}' is not there any more: choose another one, or put the file back.`;
    this.status.textContent = text;
    set(this.status, { "data-kind": missing && !wired ? "warning" : null });
  }

  /** Brings the chosen card into view, once for each choice: after that a person scrolls. */
  scroll() {
    const card = this.cards.querySelector("[aria-checked=true]");
    if (!card || !this.cards.clientHeight || this.scrolledTo === card.dataset.file) return;
    this.scrolledTo = card.dataset.file;
    const top = card.offsetTop - this.cards.firstChild.offsetTop;
    const { scrollTop, clientHeight } = this.cards;
    if (top < scrollTop || top + card.offsetHeight > scrollTop + clientHeight) this.cards.scrollTop = top;
  }

  card(file, on, wired) {
    const title = file.slice(0, -SUFFIX.length);
    const card = make("button", {
      type: "button", class: "se-card", role: "radio", "aria-checked": String(on), tabindex: on ? "0" : "-1", title: file,
      "data-file": file, onclick: () => this.choose(file),
    });
    card.disabled = wired;
    const place = this.places.get(file);
    if (place !== undefined) {
      const path = file.split("/").map(encodeURIComponent).join("/");
      const picture = make("img", { alt: "", loading: "lazy", draggable: "false", src: apiUrl(`/experiment/models/preview/${FOLDER}/${place}/${path}`) });
      picture.addEventListener("error", () => (picture.style.visibility = "hidden"));
      card.append(picture);
    }
    card.append(make("span", {}, title));
    return card;
  }

  choose(file) {
    const widget = inputWidget(this.node, "file");
    const values = widget?.options?.values;
    const own = Array.isArray(values) ? values.find((name) => name.replaceAll("\\", "/") === file) : undefined;
    if (Array.isArray(values) && own === undefined) values.push(file); // saved since the page was opened
    this.write(own ?? file);
    this.undo.push();
  }

  write(file) {
    setValues(this.node, { file });
    this.draw();
  }

  key(event) {
    const cards = [...this.cards.children];
    const now = cards.indexOf(event.target);
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    if (now < 0 || !(event.key in steps)) return;
    event.preventDefault();
    const next = cards[(now + steps[event.key] + cards.length) % cards.length];
    const { file } = next.dataset;
    next.focus();
    this.choose(file);
  }
}

register("LoadDirection", "SemanticEditLoadDirection", (node) => new DirectionBrowser(node));
