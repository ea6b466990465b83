/** Rows and lists as people type them; the forms that editing/common/rows.py and lists.py read. */

const MOST_ROWS = 64; // of an edit; generators have 8 to 26
const MOST_PARTS = 256;

/** What a line lists, with commas of any keyboard. */
export function typedList(text) {
  return String(text).split(/[,;\n\uff0c\u3001\uff1b\u060c]/).map((entry) => entry.trim()).filter(Boolean);
}

/**
 * Rows that are typed as numbers and ranges; "as trained" and "all" are the edit's own. A range costs as much as the edit
 * has rows, however far it reaches.
 * @returns {number[] | null} those of the edit's rows; null: words that are not read here.
 */
export function readRows(text, edit) {
  const words = String(text).trim().toLowerCase();
  if (["", "as trained", "all"].includes(words)) return [...edit.rows];
  const rows = new Set();
  for (const word of typedList(words)) {
    const range = /^(\d+)(?:\s*-\s*(\d+))?$/.exec(word);
    if (!range) return null;
    const [first, last] = [Number(range[1]), Number(range[2] ?? range[1])];
    for (const row of edit.rows) if (row >= first && row <= last) rows.add(row);
  }
  return [...rows];
}

/** An edit as a node has sent it, or as a workflow of a stranger holds it: null where it cannot be shown. */
export function readEdit(edit) {
  const { rows, parts, count } = edit ?? {};
  const whole = Array.isArray(rows) && rows.every((row) => Number.isInteger(row) && row >= 0 && row < count);
  if (!whole || !Array.isArray(parts) || !(count <= MOST_ROWS) || parts.length > MOST_PARTS) return null;
  return { ...edit, rows: [...new Set(rows)], weights: edit.weights ?? [] };
}
