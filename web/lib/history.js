/** Undo and redo over values that are replaced, never changed. */
export class History {
  constructor(value) {
    this.past = [];
    this.present = value;
    this.future = [];
  }

  /** A change that a person made. */
  push(value) {
    if (same(value, this.present)) return;
    this.past.push(this.present);
    if (this.past.length > 100) this.past.shift();
    this.present = value;
    this.future = [];
  }

  /** A change from outside: a step of ComfyUI's own undo is followed; to anything else there is nothing to go back to. */
  follow(value) {
    if (same(value, this.present)) return;
    if (this.past.length && same(value, this.past.at(-1))) return void this.undo();
    if (this.future.length && same(value, this.future.at(-1))) return void this.redo();
    this.past = [];
    this.present = value;
    this.future = [];
  }

  undo() {
    if (!this.past.length) return null;
    this.future.push(this.present);
    this.present = this.past.pop();
    return this.present;
  }

  redo() {
    if (!this.future.length) return null;
    this.past.push(this.present);
    this.present = this.future.pop();
    return this.present;
  }
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}
