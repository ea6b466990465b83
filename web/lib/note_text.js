/** The text of a large note: blocks of runs, and the size that fits. */

/** One block a line, without the empty ones: "# " makes a title, "**" turns strong letters on and off. */
export function noteBlocks(text) {
  return String(text ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => {
      const level = line.startsWith("# ") ? 1 : 0;
      const runs = (level ? line.slice(2) : line).split("**").map((run, index) => ({ text: run, strong: index % 2 === 1 }));
      return { level, runs: runs.filter(({ text }) => text) };
    });
}

/** The largest whole size in [least, most] that fits, by halving; `least` where none does. */
export function largestSize(fits, least = 12, most = 160) {
  let [low, high] = [least, most];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}
