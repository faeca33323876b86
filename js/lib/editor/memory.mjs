// What the editor remembers and the text does not: a second setting to compare with, and what was switched off. Pure.

export class Memory {
  constructor() {
    /** Strengths of what was switched off. @type {Map<string, number>} */
    this.before = new Map();
    /** The setting that is not in force; nothing until one was kept. @type {string | null} */
    this.other = null;
    /** @type {"A" | "B"} */
    this.letter = "A";
  }

  /**
   * The strength that a click on a label gives.
   * @param {string} selector
   * @param {number} value what it is now
   */
  toggled(selector, value) {
    if (value !== 0) this.before.set(selector, value);
    return value === 0 ? this.before.get(selector) ?? 1 : 0;
  }

  /**
   * Keeps the text as A the first time, and goes on with it as B; after that exchanges the two.
   * @param {string} text in force
   * @returns {string} the text to go on with
   */
  swapped(text) {
    const next = this.other ?? text;
    this.other = text;
    this.letter = this.letter === "A" ? "B" : "A";
    return next;
  }
}
