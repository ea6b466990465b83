/** A picture to work on: fitted into its box, zoomed and moved by wheel, buttons or two fingers, with two layers on top. */

import { button, make, makeSvg, set } from "./dom.js";

const MOST = 8;
const PAUSE = 500; // ms without a turn of the wheel that end a gesture

// ComfyUI listens for fingers before any widget hears of them: two of them would zoom the graph and a long press open its
// menu. Fingers on a picture are the picture's; it hears of them as pointers.
for (const name of ["touchstart", "touchmove", "touchend", "touchcancel"]) {
  const keep = (event) => event.target?.closest?.(".se-stage") && event.stopPropagation();
  window.addEventListener(name, keep, { capture: true, passive: true });
}

// The newer renderer takes the wheel in the same way.
const stages = new WeakMap(); // a picture's box -> its Stage
const turned = (event) => stages.get(event.target?.closest?.(".se-stage"))?.wheel(event);
window.addEventListener("wheel", turned, { capture: true, passive: false });

/**
 * @param {string} label what a screen reader calls the picture.
 * @param {{press, move, release, cancel, draw}} hands called with [x, y] in shares of the picture and the event; press also
 *   with whether the widget had the focus already.
 */
export class Stage {
  constructor(label, hands) {
    this.hands = hands;
    this.zoom = 1;
    this.offset = [0, 0];
    this.size = null; // natural width and height of the picture
    this.pointers = new Map();
    this.image = make("img", { alt: "", draggable: "false" });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.svg = makeSvg("svg", { role: "group", "aria-label": "Marks on the picture" });
    this.content = make("div", { class: "se-content" }, this.image, this.canvas, this.svg);
    this.hint = make("div", { class: "se-hint" });
    this.element = make("div", { class: "se-stage", role: "group", "aria-label": label, tabindex: "0" }, this.content, this.hint);
    this.zoomRow = [
      button("−", "Zoom out", () => this.zoomBy(1 / 1.5)),
      button("+", "Zoom in", () => this.zoomBy(1.5)),
      button("Fit", "Fit the whole picture", () => this.fit()),
    ];
    this.image.addEventListener("load", () => {
      this.size = [this.image.naturalWidth, this.image.naturalHeight];
      this.layout();
      this.loaded?.(this.size);
    });
    this.image.addEventListener("error", () => {
      this.image.removeAttribute("src");
      this.failed?.();
    });
    this.element.addEventListener("pointerdown", (event) => this.down(event));
    this.element.addEventListener("pointermove", (event) => this.moved(event));
    this.element.addEventListener("pointerup", (event) => this.up(event));
    this.element.addEventListener("pointercancel", (event) => this.up(event, true));
    stages.set(this.element, this);
    new ResizeObserver(() => this.layout()).observe(this.element);
  }

  show(url) {
    if (url) this.image.src = url;
    else this.image.removeAttribute("src");
  }

  /** A blank picture of a size that is known from elsewhere. */
  blank(size) {
    this.size = size;
    this.layout();
  }

  say(text) {
    this.hint.textContent = text;
  }

  fit() {
    this.zoom = 1;
    this.offset = [0, 0];
    this.layout();
  }

  /** Zooms about a place of the box, its middle by default. */
  zoomBy(factor, x = this.element.clientWidth / 2, y = this.element.clientHeight / 2) {
    const next = Math.min(MOST, Math.max(1, this.zoom * factor));
    const by = next / this.zoom;
    this.offset = [x - (x - this.left) * by - this.fitted[0], y - (y - this.top) * by - this.fitted[1]];
    this.zoom = next;
    this.layout();
  }

  layout() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const [w, h] = this.size ?? [1, 1];
    const scale = Math.min(width / w, height / h);
    this.drawn = [w * scale, h * scale];
    this.fitted = [(width - this.drawn[0]) / 2, (height - this.drawn[1]) / 2];
    if (this.zoom === 1) this.offset = [0, 0];
    this.left = this.fitted[0] + this.offset[0];
    this.top = this.fitted[1] + this.offset[1];
    this.content.style.width = `${this.drawn[0]}px`;
    this.content.style.height = `${this.drawn[1]}px`;
    this.content.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.zoom})`;
    set(this.svg, { viewBox: `0 0 ${this.drawn[0]} ${this.drawn[1]}` });
    const fine = Math.min(2, 1024 / Math.max(...this.drawn));
    const inside = this.drawn.map((side) => Math.max(1, Math.round(side * fine)));
    if (this.canvas.width !== inside[0] || this.canvas.height !== inside[1]) [this.canvas.width, this.canvas.height] = inside;
    this.hands.draw?.();
  }

  /** Where an event is, in shares of the picture; the box may be scaled by the graph around it. */
  place(event) {
    const box = this.content.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  /** How far a distance in pixels of the screen is, in shares of the picture's width and height. */
  reach(pixels) {
    const box = this.content.getBoundingClientRect();
    return [pixels / box.width, pixels / box.height];
  }

  down(event) {
    if (event.button > 0 && event.button !== 1) return;
    const awake = this.element.closest(".se-widget")?.contains(document.activeElement) ?? true;
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size > 1 || event.button === 1 || event.shiftKey) {
      this.hands.cancel?.();
      this.panning = true;
    } else if (this.size) {
      event.preventDefault();
      this.hands.press?.(this.place(event), event, awake);
    }
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (this.size) this.hands.hover?.(this.place(event));
      return;
    }
    const now = [event.clientX, event.clientY];
    if (this.panning) this.pan(event.pointerId, before, now);
    else this.hands.move?.(this.place(event), event);
    this.pointers.set(event.pointerId, now);
  }

  up(event, cancelled = false) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.panning) this.panning = this.pointers.size > 0;
    else if (cancelled) this.hands.cancel?.();
    else this.hands.release?.(this.place(event), event);
  }

  pan(id, before, now) {
    const graph = this.element.getBoundingClientRect().width / this.element.offsetWidth || 1;
    const others = [...this.pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const share = others.length ? 0.5 : 1;
    this.offset = this.offset.map((value, k) => value + (share * (now[k] - before[k])) / graph);
    if (others.length) {
      const far = (place) => Math.hypot(place[0] - others[0][0], place[1] - others[0][1]);
      const box = this.element.getBoundingClientRect();
      const middle = [(now[0] + others[0][0]) / 2 - box.left, (now[1] + others[0][1]) / 2 - box.top];
      this.zoomBy(far(now) / Math.max(1, far(before)), middle[0] / graph, middle[1] / graph);
    } else this.layout();
  }

  /** The wheel zooms the picture. Out of a picture that is whole it is the graph's, unless it has just become whole. */
  wheel(event) {
    if (!this.size) return;
    if (this.zoom === 1 && event.deltaY > 0 && !(event.timeStamp - this.wheeled < PAUSE)) return;
    this.wheeled = event.timeStamp;
    event.preventDefault();
    event.stopPropagation();
    const box = this.element.getBoundingClientRect();
    const graph = box.width / this.element.offsetWidth || 1;
    this.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, (event.clientX - box.left) / graph, (event.clientY - box.top) / graph);
  }
}

/**
 * What a picture looks like from far away, as 64 hexadecimal digits: enough to notice that it is another one.
 * @param {HTMLImageElement} image
 */
export function signature(image) {
  const canvas = make("canvas", { width: "8", height: "8" });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, 8, 8);
  const { data } = context.getImageData(0, 0, 8, 8);
  let digits = "";
  for (let k = 0; k < 64; k++) {
    digits += Math.round(((data[4 * k] + data[4 * k + 1] + data[4 * k + 2]) / 765) * 15).toString(16);
  }
  return digits;
}

/** True when two signatures belong to pictures that a person would call different. */
export function differs(a, b) {
  if (!a || !b || a.length !== b.length) return false;
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += Math.abs(parseInt(a[k], 16) - parseInt(b[k], 16));
  return sum / a.length > 0.8;
}
