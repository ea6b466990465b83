/**
 * Brush strokes as text: the form that editing/paint/brush.py reads. A stroke is { radius, points: [[x, y], ...] }, in shares
 * of the picture's width and height, the radius in shares of its height; a radius below zero erases, null is the node's.
 */

const RADIUS = /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)$/; // no two runs that could share their digits
const MOST_POINTS = 50000; // in all, as many as the node takes
const MOST_STROKES = 2000;
const NEAR = 0.004; // points nearer than this to the one before say nothing new

/** @returns {{strokes: object[], problem: string}} */
export function parseStrokes(text) {
  const strokes = [];
  let count = 0;
  for (const line of (text || "").split("\n").filter((each) => each.trim())) {
    const colon = line.indexOf(":");
    const own = colon > 0 && RADIUS.test(line.slice(0, colon).trim()) ? line.slice(0, colon).trim() : null;
    const numbers = (own === null ? line : line.slice(colon + 1)).trim().split(/[\s,;]+/).filter(Boolean).map(Number);
    if (numbers.length % 2 || !numbers.length || !numbers.every(Number.isFinite)) {
      return { strokes, problem: "These strokes cannot be shown here; change them as text." };
    }
    count += numbers.length / 2;
    if (count > MOST_POINTS || strokes.length >= MOST_STROKES) return { strokes: [], problem: "There are too many points in the strokes." };
    const points = [];
    for (let k = 0; k < numbers.length; k += 2) points.push([numbers[k], numbers[k + 1]]);
    strokes.push({ radius: own === null ? null : Number(own), points });
  }
  return { strokes, problem: "" };
}

export function formatStrokes(strokes) {
  return strokes
    .map(({ radius, points }) => {
      const path = points.map(([x, y]) => `${short(x)} ${short(y)}`).join(", ");
      return radius === null ? path : `${short(radius)}: ${path}`;
    })
    .join("\n");
}

/** The same way with fewer points. */
export function thinned(points) {
  const kept = [points[0]];
  for (const point of points.slice(1)) {
    const last = kept[kept.length - 1];
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) >= NEAR) kept.push(point);
  }
  return kept;
}

/** Draws strokes into a 2D context of width x height as a mask: colour where painted, nothing elsewhere. */
export function drawStrokes(context, strokes, width, height, ownRadius, colour) {
  context.clearRect(0, 0, width, height);
  context.lineCap = context.lineJoin = "round";
  context.fillStyle = context.strokeStyle = colour;
  for (const { radius, points } of strokes) {
    const size = radius ?? ownRadius;
    context.globalCompositeOperation = size < 0 ? "destination-out" : "source-over";
    context.lineWidth = 2 * Math.abs(size) * height;
    context.beginPath();
    if (points.length === 1) {
      context.arc(points[0][0] * width, points[0][1] * height, Math.abs(size) * height, 0, 2 * Math.PI);
      context.fill();
      continue;
    }
    points.forEach(([x, y], k) => (k ? context.lineTo(x * width, y * height) : context.moveTo(x * width, y * height)));
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

function short(number) {
  return String(Math.round(number * 1000) / 1000);
}
