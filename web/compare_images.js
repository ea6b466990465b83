/** Compare Images: before and after under one slider, one pair after the other. */

import { button, make, set, widgetBox } from "./lib/dom.js";
import { pictureUrl, recall, register, remember } from "./lib/node_widget.js";

class Comparison {
  constructor(node) {
    this.node = node;
    this.height = 380;
    this.pairs = [];
    this.index = 0;
    const layer = "position:absolute;inset:0;width:100%;height:100%;object-fit:contain";
    this.before = make("img", { alt: "Before the edit", draggable: "false", style: layer });
    this.after = make("img", { alt: "After the edit", draggable: "false", style: layer });
    this.line = make("div", { "aria-hidden": "true", style: "position:absolute;top:0;bottom:0;width:2px;margin-left:-1px;background:#fff;box-shadow:0 0 3px #000" });
    this.hint = make("div", { class: "se-hint" }, "Run once: the pairs appear here.");
    this.stage = make("div", { class: "se-stage", style: "cursor: ew-resize" }, this.before, this.after, this.line, this.hint);
    this.slider = make("input", {
      type: "range", min: "0", max: "100", value: "50", style: "width: 100%", "aria-label": "How much is shown after the edit",
      oninput: () => this.setShare(Number(this.slider.value)),
    });
    this.count = make("span", { role: "status" });
    this.previous = button("Previous", "The pair before", () => this.go(this.index - 1));
    this.next = button("Next", "The next pair", () => this.go(this.index + 1));
    this.difference = button("Difference", "Show what has changed, brighter where more", () => this.toggle(), { "aria-pressed": "false" });
    this.strip = make("div", { class: "se-strip", role: "group", "aria-label": "All pairs" });
    this.note = make("div", { class: "se-status", role: "status" });
    this.element = widgetBox("Before and after");
    this.element.append(
      make("div", { class: "se-row" }, this.previous, this.next, this.count, this.difference),
      this.stage, this.slider, this.strip, this.note,
    );
    this.stage.addEventListener("pointerdown", (event) => {
      this.stage.setPointerCapture(event.pointerId);
      this.slide(event);
    });
    this.stage.addEventListener("pointermove", (event) => event.buttons && this.slide(event));
    new ResizeObserver(() => this.place()).observe(this.stage);
    this.changed();
  }

  changed() {
    this.share = recall(this.node, "share", 50);
    this.draw();
  }

  shown({ before, after, note }) {
    if (!after?.length || !before?.length) return;
    this.pairs = after.map((each, k) => [pictureUrl(before[Math.min(k, before.length - 1)]), pictureUrl(each)]);
    this.index = Math.min(this.index, this.pairs.length - 1);
    this.note.textContent = note?.[0] ?? "";
    this.strip.replaceChildren(
      ...(this.pairs.length > 1 ? this.pairs : []).map(([, url], k) =>
        make("button", { type: "button", "aria-label": `Pair ${k + 1}`, onclick: () => this.go(k) }, make("img", { src: url, alt: "", loading: "lazy" })),
      ),
    );
    this.draw();
  }

  go(index) {
    if (!this.pairs.length) return;
    this.index = (index + this.pairs.length) % this.pairs.length;
    this.draw();
  }

  toggle() {
    const on = this.difference.getAttribute("aria-pressed") !== "true";
    set(this.difference, { "aria-pressed": String(on) });
    this.place();
  }

  setShare(share) {
    this.share = Math.min(100, Math.max(0, share));
    remember(this.node, "share", Math.round(this.share));
    this.place();
  }

  /** Where the picture itself lies in its box: the slider runs over the picture, not over the margins. */
  frame() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const [w, h] = [this.after.naturalWidth || 1, this.after.naturalHeight || 1];
    const drawn = Math.min(width, (height * w) / h);
    return { left: (width - drawn) / 2, drawn, width };
  }

  slide(event) {
    const box = this.stage.getBoundingClientRect();
    const { left, drawn, width } = this.frame();
    const x = ((event.clientX - box.left) / box.width) * width;
    this.setShare(((x - left) / drawn) * 100);
  }

  place() {
    const difference = this.difference.getAttribute("aria-pressed") === "true";
    const { left, drawn, width } = this.frame();
    const x = left + (drawn * this.share) / 100;
    this.slider.value = String(this.share);
    set(this.slider, { "aria-valuetext": `${Math.round(this.share)} % before, ${Math.round(100 - this.share)} % after` });
    this.after.style.clipPath = difference ? "none" : `inset(0 0 0 ${(100 * x) / (width || 1)}%)`;
    this.after.style.mixBlendMode = difference ? "difference" : "normal";
    this.stage.style.isolation = "isolate";
    this.stage.style.filter = difference ? "brightness(3)" : "none";
    this.stage.style.background = difference ? "#000" : "";
    this.line.style.left = `${x}px`;
    this.line.style.display = this.pairs.length && !difference ? "" : "none";
  }

  draw() {
    const pair = this.pairs[this.index];
    this.hint.style.display = pair ? "none" : "";
    for (const image of [this.before, this.after]) image.style.display = pair ? "" : "none";
    if (pair) {
      this.after.onload = () => this.place();
      [this.before.src, this.after.src] = pair;
    }
    this.count.textContent = pair ? `${this.index + 1} of ${this.pairs.length}` : "No pictures yet";
    for (const each of [this.previous, this.next]) each.disabled = this.pairs.length < 2;
    this.slider.disabled = this.difference.disabled = !pair;
    [...this.strip.children].forEach((each, k) => set(each, { "aria-pressed": String(k === this.index) }));
    this.place();
  }
}

register("CompareImages", "SemanticEditCompareImages", (node) => new Comparison(node));
