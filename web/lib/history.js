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

  /** A change from outside: nothing to go back to. */
  reset(value) {
    if (same(value, this.present)) return;
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
