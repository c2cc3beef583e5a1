/**
 * Where a statement is written: a `<textarea>` over its own coloured copy.
 *
 * The two lie in one cell of a grid, and the copy gives the cell its height, so that nothing has
 * to be kept scrolled alike. Every change of ours goes through the browser's own editing, so that
 * undo takes it back.
 */

import { el } from "../dom";
import { tokens } from "./highlight";

const TEXT_KEY = "millstream.sql";
const INDENT = "  ";

export class Editor {
  readonly root: HTMLElement;
  readonly #area = el("textarea", {
    class: "editor-text",
    "aria-label": "SQL statement",
    "aria-describedby": "editor-keys",
    "aria-keyshortcuts": "Control+Enter",
    autocapitalize: "off",
    autocomplete: "off",
    autocorrect: "off",
    spellcheck: "false",
    wrap: "soft",
    rows: "1",
  });
  readonly #copy = el("code");
  readonly #run: () => void;
  /** After Escape, Tab leaves the editor: nobody who can't use a mouse is caught in it. */
  #leaving = false;

  constructor(run: () => void, changed: () => void) {
    this.#run = run;
    this.root = el("div", { class: "editor" }, el("pre", { class: "editor-copy", "aria-hidden": "true" }, this.#copy), this.#area);
    this.#area.value = stored();
    this.#colour();
    this.#area.addEventListener("input", () => {
      this.#colour();
      store(this.#area.value);
      changed();
    });
    this.#area.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("selectionchange", () => document.activeElement === this.#area && changed());
    // Below the text is still the editor.
    this.root.addEventListener("mousedown", (event) => {
      if (event.target !== this.root) return;
      event.preventDefault();
      this.#area.focus();
    });
  }

  get text(): string {
    return this.#area.value;
  }

  /** What is selected, else everything. */
  get statement(): string {
    return this.selection || this.text.trim();
  }

  get selection(): string {
    return this.text.slice(this.#area.selectionStart, this.#area.selectionEnd).trim();
  }

  /** Replaces everything. */
  replace(text: string): void {
    this.#area.focus();
    this.#area.select();
    this.#type(text);
    this.#area.setSelectionRange(0, 0);
    this.root.scrollTop = 0;
    // On a phone, a focused editor is half a screen of keyboard.
    if (window.matchMedia("(hover: none)").matches) this.#area.blur();
  }

  /** Puts a name where the caret is, with the spaces that it needs. */
  insert(name: string): void {
    this.#area.focus();
    const { selectionStart: start, selectionEnd: end, value } = this.#area;
    const before = start > 0 && /[\w,"')]/.test(value[start - 1] ?? "") ? " " : "";
    const after = /[\w"'(]/.test(value[end] ?? "") ? " " : "";
    this.#type(before + name + after);
  }

  focus(): void {
    this.#area.focus();
  }

  #type(text: string): void {
    // Deprecated in name only: nothing else keeps the browser's undo.
    if (text !== "" && document.execCommand("insertText", false, text)) return;
    this.#area.setRangeText(text, this.#area.selectionStart, this.#area.selectionEnd, "end");
    this.#area.dispatchEvent(new Event("input"));
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#run();
    } else if (event.key === "Tab" && !this.#leaving && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      this.#indent(event.shiftKey);
    }
    if (event.key !== "Shift") this.#leaving = event.key === "Escape";
  }

  /** Spaces at the caret, or each selected line inwards or outwards. */
  #indent(outwards: boolean): void {
    const { selectionStart: start, selectionEnd: end, value } = this.#area;
    if (!outwards && start === end) {
      this.#type(INDENT);
      return;
    }
    const from = value.lastIndexOf("\n", start - 1) + 1;
    const lines = value.slice(from, end);
    const moved = outwards ? lines.replace(/^ {1,2}/gm, "") : lines.replace(/^(?=.)/gm, INDENT);
    if (moved === lines) return;
    this.#area.setSelectionRange(from, end);
    this.#type(moved);
    const caret = from + moved.length;
    this.#area.setSelectionRange(start === end ? caret : from, caret);
  }

  #colour(): void {
    const pieces = tokens(this.text).map(({ piece, text }) => (piece === "rest" || piece === "name" ? text : el("span", { class: `sql-${piece}`, text })));
    // A last line that is empty has no height of its own.
    this.#copy.replaceChildren(...pieces, "\n");
  }
}

const FIRST = "SELECT stream_id, rendition, at, duration_us, bytes\nFROM segments\nORDER BY at DESC\nLIMIT 100";

function stored(): string {
  try {
    return localStorage.getItem(TEXT_KEY) || FIRST;
  } catch {
    return FIRST; // storage is forbidden: private mode, policy
  }
}

function store(text: string): void {
  try {
    localStorage.setItem(TEXT_KEY, text);
  } catch {
    // storage is forbidden: the text lasts as long as the page
  }
}
