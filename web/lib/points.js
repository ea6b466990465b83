/**
 * Drags as text: the forms that editing/drag/points.py reads, as fractions of the picture, and back as "x,y -> x,y" lines.
 * A drag is { from: [x, y], to: [x, y] }, both 0..1 from the top left corner.
 */

const NUMBER = /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?$/; // no two runs that could share their digits
const ARROW = /->|=>|→|to/;
const LONGEST_LINE = 1000; // letters
const MOST_DRAGS = 64; // as many as the node takes
const FROM = ["handles", "handle", "from", "start", "source", "positive", "points"];
const TO = ["targets", "target", "to", "end", "destination", "negative"];

/**
 * Reads drags.
 * @param {string} text the value of the node's `points`.
 * @param {string} units "auto", "pixels" or "fractions".
 * @param {[number, number] | null} canvas width and height of the picture that pixels count in; null: not known.
 * @returns {{drags: object[], canvas: [number, number] | null, problem: string}}
 */
export function parsePoints(text, units, canvas) {
  const trimmed = (text || "").trim();
  if (!trimmed) return { drags: [], canvas, problem: "" };
  let pairs;
  try {
    pairs = readLines(trimmed);
    if (!pairs) {
      const document = JSON.parse(trimmed);
      pairs = Array.isArray(document) ? readList(document) : readObject(document);
      if (document.width > 0 && document.height > 0 && !canvas) canvas = [document.width, document.height];
      if (units === "auto" && document.units) units = document.units;
    }
  } catch {
    return { drags: [], canvas, problem: "These points cannot be shown here; change them as text." };
  }
  if (pairs.length > MOST_DRAGS) return { drags: [], canvas, problem: `There are ${pairs.length} drags; at most ${MOST_DRAGS} are possible.` };
  const numbers = pairs.flat(2);
  if (!numbers.every(Number.isFinite)) return { drags: [], canvas, problem: "The points hold something that is no number." };
  if (units === "auto") {
    const whole = numbers.every(Number.isInteger);
    units = !whole && areFractions(numbers) ? "fractions" : "pixels";
  }
  if (units === "pixels" && !canvas) canvas = guessCanvas(numbers);
  const [width, height] = units === "fractions" ? [1, 1] : canvas;
  const drags = pairs.map(([from, to]) => ({
    from: [from[0] / width, from[1] / height],
    to: [to[0] / width, to[1] / height],
  }));
  return { drags, canvas, problem: "" };
}

/** Whether nine in ten numbers lie in -0.1..1.1, as editing/common/coordinate_units.py judges. */
function areFractions(numbers) {
  const inside = numbers.filter((number) => number >= -0.1 && number <= 1.1).length;
  return numbers.length > 0 && inside >= 0.9 * numbers.length;
}

/** Writes drags as lines, in pixels of a canvas [width, height], to a tenth of a pixel. */
export function formatPoints(drags, [width, height]) {
  const at = ([x, y]) => `${tenth(x * width)},${tenth(y * height)}`;
  return drags.map((drag) => `${at(drag.from)} -> ${at(drag.to)}`).join("\n");
}

function tenth(number) {
  return String(Math.round(number * 10) / 10);
}

/** The smallest power of two that holds every coordinate: what a picture's size is most often. */
function guessCanvas(numbers) {
  let side = 64;
  while (side < Math.max(...numbers)) side *= 2;
  return [side, side];
}

/** Reads lines "x,y -> x,y"; null for other text. */
function readLines(text) {
  const lines = text.split("\n").map((line) => withoutEnd(line.split("#")[0].trim())).filter(Boolean);
  const pairs = [];
  for (const line of lines) {
    const ends = line.length <= LONGEST_LINE ? line.split(ARROW).map(readPoint) : [];
    if (ends.length !== 2 || !ends.every(Boolean)) return null;
    pairs.push(ends);
  }
  return pairs;
}

/** Takes commas, semicolons and blanks off the end; a regular expression would look at a run of them once for each. */
function withoutEnd(line) {
  let length = line.length;
  while (length && ",; ".includes(line[length - 1])) length--;
  return line.slice(0, length);
}

/** Reads "x,y", "x y" or "(x; y)"; null for other text. */
function readPoint(text) {
  let inner = text.trim();
  if ("([".includes(inner[0] ?? " ")) inner = inner.slice(1);
  if (")]".includes(inner[inner.length - 1] ?? " ")) inner = inner.slice(0, -1);
  inner = inner.trim().replaceAll(";", ",");
  const words = inner.includes(",") ? inner.split(",").map((word) => word.trim()) : inner.split(/\s+/);
  return words.length === 2 && words.every((word) => NUMBER.test(word)) ? words.map(Number) : null;
}

function readList(entries) {
  if (entries.length && entries.every(isPoint)) {
    if (entries.length % 2) throw new Error("odd");
    return pairUp(entries.filter((_, k) => k % 2 === 0), entries.filter((_, k) => k % 2 === 1));
  }
  return entries.map((entry) => {
    if (!Array.isArray(entry)) return readObject(entry)[0];
    if (entry.length === 4 && entry.every((number) => typeof number === "number")) {
      return [entry.slice(0, 2), entry.slice(2)];
    }
    if (entry.length >= 2 && entry.every(isPoint)) return [point(entry[0]), point(entry[entry.length - 1])];
    throw new Error("no pair");
  });
}

function readObject(document) {
  const under = (names) => names.map((name) => document[name]).find((value) => value != null);
  const handles = under(FROM);
  const targets = under(TO);
  if (handles && !targets) return readList(handles);
  if (isPoint(handles) && isPoint(targets)) return pairUp([handles], [targets]);
  return pairUp(handles, targets);
}

function pairUp(handles, targets) {
  if (handles.length !== targets.length) throw new Error("unequal");
  return handles.map((handle, k) => [point(handle), point(targets[k])]);
}

function isPoint(entry) {
  if (Array.isArray(entry)) return entry.length === 2 && entry.every((number) => typeof number === "number");
  return Boolean(entry) && typeof entry.x === "number" && typeof entry.y === "number";
}

function point(entry) {
  if (!isPoint(entry)) throw new Error("no point");
  return Array.isArray(entry) ? entry : [entry.x, entry.y];
}
