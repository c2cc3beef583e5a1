/**
 * The rows of an answer. Only those in sight are in the document: a hundred thousand scroll as
 * ten do. Columns are as wide as a sample of their cells.
 */

import { el } from "../dom";
import type { Answer, Column } from "./ask";
import { cellText, kindOf, playLink, typeName, unitOf } from "./columns";
import { icon } from "../icons";

/** The height of a row, as `console.css` has it. */
const ROW_PX = 34;
/** Rows above and below those in sight, for scrolling without white. */
const SPARE = 12;
/** Browsers lay nothing out below some 17 million pixels; more rows than this nobody scrolls. */
export const ROWS_MAX = 100_000;
/** Cells that decide a column's width. */
const SAMPLE = 200;
const CHARS_MIN = 6;
const CHARS_MAX = 44;

export class Grid {
  readonly root: HTMLElement;
  readonly #answer: Answer;
  readonly #count: number;
  readonly #body = el("tbody");
  readonly #above = spacer();
  readonly #below = spacer();
  #from = -1;
  #to = -1;

  constructor(answer: Answer) {
    this.#answer = answer;
    this.#count = Math.min(answer.rows.length, ROWS_MAX);
    const widths = answer.columns.map((column) => chars(answer, column));
    const table = el(
      "table",
      { class: "rows", "aria-rowcount": answer.rows.length + 1, "aria-colcount": answer.columns.length },
      el("caption", { class: "visually-hidden", text: "Result" }),
      el("colgroup", {}, ...widths.map(() => el("col"))),
      el("thead", {}, el("tr", { "aria-rowindex": 1 }, ...answer.columns.map(head))),
      this.#body,
    );
    table.querySelectorAll("col").forEach((col, i) => col.style.setProperty("width", `calc(${widths[i]}ch + 26px)`));
    table.style.setProperty("width", `calc(${widths.reduce((sum, n) => sum + n, 0)}ch + ${26 * widths.length}px)`);
    this.root = el("div", { class: "rows-frame", tabindex: "0", role: "region", "aria-label": "Result rows" }, table);
    this.root.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#draw()).observe(this.root);
    this.#draw();
  }

  #draw(): void {
    const first = Math.floor(this.root.scrollTop / ROW_PX);
    const seen = Math.ceil((this.root.clientHeight || 600) / ROW_PX);
    // Even, so that striped rows keep their stripes.
    const from = Math.max(0, first - SPARE) & ~1;
    const to = Math.min(this.#count, first + seen + SPARE);
    if (from === this.#from && to === this.#to) return;
    this.#from = from;
    this.#to = to;
    height(this.#above, from * ROW_PX);
    height(this.#below, (this.#count - to) * ROW_PX);
    const rows = [];
    for (let i = from; i < to; i++) rows.push(this.#row(i));
    this.#body.replaceChildren(this.#above, ...rows, this.#below);
  }

  #row(index: number): HTMLElement {
    const row = this.#answer.rows[index] ?? {};
    return el("tr", { "aria-rowindex": index + 2 }, ...this.#answer.columns.map((column) => cell(column, row[column.name])));
  }
}

function head(column: Column): HTMLElement {
  const kind = kindOf(column.type);
  const hint = kind === "time" ? "UTC" : (unitOf(column) ?? typeName(column.type));
  const title = column.comment ? `${column.name}: ${column.comment}` : `${column.name}: ${typeName(column.type)}`;
  return el(
    "th",
    { scope: "col", class: kind === "number" ? "is-number" : false, title },
    el("span", { class: "rows-name", text: column.name }),
    el("span", { class: "rows-hint", text: hint }),
  );
}

function cell(column: Column, value: Answer["rows"][number][string] | undefined): HTMLElement {
  const text = cellText(column, value);
  if (text === null) return el("td", { class: kindOf(column.type) === "number" ? "is-null is-number" : "is-null", text: "null" });
  const link = playLink(value);
  if (link) {
    const label = link.at ? `Play from ${link.at} UTC, in a new tab` : "Play, in a new tab";
    return el("td", {}, el("a", { class: "play-link", href: link.href, target: "_blank", rel: "noopener", "aria-label": label }, icon("play"), link.at || "Play"));
  }
  return el("td", { class: `is-${kindOf(column.type)}`, title: text.length > 20 ? text : false, text });
}

function chars(answer: Answer, column: Column): number {
  const step = Math.max(1, Math.floor(answer.rows.length / SAMPLE));
  let longest = column.name.length + 1;
  for (let i = 0; i < answer.rows.length; i += step) {
    const value = answer.rows[i]?.[column.name];
    const text = playLink(value) ? "▶ 00:00:00" : (cellText(column, value) ?? "null");
    if (text.length > longest) longest = text.length;
  }
  return Math.min(CHARS_MAX, Math.max(CHARS_MIN, longest));
}

const spacer = (): HTMLElement => el("tr", { class: "rows-spacer", "aria-hidden": "true" }, el("td"));

const height = (row: HTMLElement, pixels: number): void => row.style.setProperty("height", `${pixels}px`);
