/**
 * Drags as text: the forms that editing/drag/points.py reads, as fractions of the picture, and back as "x,y -> x,y" lines.
 * A drag is { from: [x, y], to: [x, y] }, both 0..1 from the top left corner.
 */

const NUMBER = "[-+]?(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][-+]?\\d+)?";
const POINT = `[(\\[]?\\s*(${NUMBER})\\s*[,; ]\\s*(${NUMBER})\\s*[)\\]]?`;
const ARROW = new RegExp(`^${POINT}\\s*(?:->|=>|→|to)\\s*${POINT}$`);
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
  const numbers = pairs.flat(2);
  if (!numbers.every(Number.isFinite)) return { drags: [], canvas, problem: "The points hold something that is no number." };
  if (units === "auto") {
    const whole = numbers.every(Number.isInteger);
    units = !whole && numbers.every((number) => number >= 0 && number <= 1) ? "fractions" : "pixels";
  }
  if (units === "pixels" && !canvas) canvas = guessCanvas(numbers);
  const [width, height] = units === "fractions" ? [1, 1] : canvas;
  const drags = pairs.map(([from, to]) => ({
    from: [from[0] / width, from[1] / height],
    to: [to[0] / width, to[1] / height],
  }));
  return { drags, canvas, problem: "" };
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

function readLines(text) {
  const lines = text.split("\n").map((line) => line.split("#")[0].trim().replace(/[,; ]+$/, "")).filter(Boolean);
  const matches = lines.map((line) => ARROW.exec(line));
  if (!matches.every(Boolean)) return null;
  return matches.map((match) => [
    [Number(match[1]), Number(match[2])],
    [Number(match[3]), Number(match[4])],
  ]);
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
