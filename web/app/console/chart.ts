/**
 * The chart of an answer: lines over time, or a bar for each row. SVG in the page's own pixels, so
 * that its texts keep their size; drawn anew when its width changes.
 *
 * The pointer or the arrow keys move a rule along the lines; what it stands on is written beside it
 * and told to screen readers.
 */

import { el, setText, svg } from "../dom";
import { plural } from "../format";
import type { Answer, Column } from "./ask";
import { numberText, timeText, unitOf } from "./columns";
import { bars, BARS_MAX, candidates, isTime, series, SERIES_MAX, shortNumber, thin, ticks, timeTicks, type Choice, type Series } from "./plot";

/** A chart of lines is as high as the window has room, between these. */
const HEIGHT_MIN = 240;
const HEIGHT_MAX = 440;
const MARGIN = { top: 34, right: 18, bottom: 34, left: 58 };
const BAR_HEIGHT = 28;
/** Few enough points to mark each. */
const DOTS_MAX = 60;

export class Chart {
  readonly root = el("div", { class: "chart" });
  readonly #answer: Answer;
  #choice: Choice;
  readonly #stage = el("div", { class: "chart-stage", tabindex: "0", role: "group" });
  readonly #tip = el("div", { class: "chart-tip", hidden: true, "aria-hidden": "true" });
  readonly #spoken = el("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  readonly #note = el("p", { class: "chart-note", hidden: true });
  #width = 0;
  #onMove: ((x: number | null) => void) | null = null;
  #onStep: ((by: number) => void) | null = null;

  constructor(answer: Answer, choice: Choice) {
    this.#answer = answer;
    this.#choice = choice;
    this.root.append(this.#controls(), this.#stage, this.#note, this.#spoken);
    this.#stage.addEventListener("pointermove", (event) => this.#onMove?.(event.clientX - this.#stage.getBoundingClientRect().left));
    this.#stage.addEventListener("pointerleave", () => this.#onMove?.(null));
    this.#stage.addEventListener("blur", () => this.#onMove?.(null));
    this.#stage.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key];
      if (by === undefined || !this.#onStep) return;
      event.preventDefault();
      this.#onStep(by);
    });
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry?.contentRect.width ?? 0);
      if (width === this.#width || width === 0) return;
      this.#width = width;
      this.#draw();
    }).observe(this.#stage);
  }

  /** A sentence of menus: "Show kbps over minute for each stream_id". */
  #controls(): HTMLElement {
    const { along, values, each } = candidates(this.#answer);
    const pick = (label: string, columns: readonly Column[], key: keyof Choice, none = false): HTMLElement => {
      const select = el("select", { class: "chart-pick", "aria-label": label });
      if (none) select.append(el("option", { value: "", text: "nothing" }));
      for (const { name } of columns) select.append(el("option", { value: name, text: name }));
      select.value = this.#choice[key] ?? "";
      select.addEventListener("change", () => {
        this.#choice = { ...this.#choice, [key]: select.value || null };
        this.#draw();
      });
      return select;
    };
    return el(
      "p",
      { class: "chart-controls" },
      el("span", { text: "Show" }),
      pick("Value", values, "value"),
      el("span", { text: "by" }),
      pick("Along", along, "along"),
      each.length > 0 && el("span", { text: "for each" }),
      each.length > 0 && pick("For each", each, "each", true),
    );
  }

  #column(name: string): Column {
    return this.#answer.columns.find((column) => column.name === name) ?? { name, type: "Utf8", comment: null };
  }

  #draw(): void {
    if (this.#width === 0) return;
    const value = this.#column(this.#choice.value);
    const along = this.#column(this.#choice.along);
    this.#onMove = null;
    this.#onStep = null;
    this.#tip.hidden = true;
    const left_out = isTime(along) ? this.#drawLines(value) : this.#drawBars(value);
    const what = isTime(along) ? plural(SERIES_MAX, "series").replace("seriess", "series") : `${BARS_MAX} rows`;
    this.#note.hidden = left_out === 0;
    setText(this.#note, left_out === 0 ? "" : `The first ${what} are drawn; ${left_out.toLocaleString("en")} more are in the table.`);
    this.#stage.setAttribute("aria-label", `Chart of ${withUnit(value)} by ${along.name}. Arrow keys read its values.`);
  }

  // ---- lines ----

  #drawLines(value: Column): number {
    const { shown, left_out } = series(this.#answer, this.#choice);
    const points = shown.flatMap((one) => one.points);
    const numbers = points.flatMap(({ y }) => (y === null ? [] : [y]));
    if (numbers.length === 0) {
      this.#stage.replaceChildren(el("p", { class: "chart-empty", text: `${value.name} has no values to draw.` }));
      return left_out;
    }
    const lowest = Math.min(...ends(numbers));
    const highest = Math.max(...ends(numbers));
    // From zero, unless all of the change is far above it.
    const marks = ticks(lowest >= 0 && lowest < highest * 0.75 ? 0 : lowest, highest, 5);
    const [bottom, top] = [marks[0] as number, marks.at(-1) as number];
    const times = ends(points.map(({ x }) => x));
    const [from, to] = times[0] === times[1] ? [times[0] - 500, times[1] + 500] : times;
    const right = this.#width - MARGIN.right;
    const room = window.innerHeight - this.#stage.getBoundingClientRect().top - (this.#choice.each === null ? 28 : 60);
    const height = Math.round(Math.min(HEIGHT_MAX, Math.max(HEIGHT_MIN, room)));
    const x = (at: number): number => MARGIN.left + ((at - from) / (to - from)) * (right - MARGIN.left);
    const y = (at: number): number => height - MARGIN.bottom - ((at - bottom) / (top - bottom)) * (height - MARGIN.bottom - MARGIN.top);

    const drawing = this.#sheet(height);
    drawing.append(label(MARGIN.left - 46, 14, withUnit(value), "chart-title"), label(right, 14, "UTC", "chart-tick chart-end"));
    for (const mark of marks) {
      drawing.append(svg("line", { class: mark === 0 ? "chart-base" : "chart-grid", x1: MARGIN.left, x2: right, y1: y(mark), y2: y(mark) }));
      drawing.append(label(MARGIN.left - 8, y(mark) + 4, shortNumber(mark), "chart-tick chart-end"));
    }
    for (const { at, name } of timeTicks(from, to, Math.max(2, Math.floor((right - MARGIN.left) / 76)))) {
      drawing.append(svg("line", { class: "chart-notch", x1: x(at), x2: x(at), y1: height - MARGIN.bottom, y2: height - MARGIN.bottom + 5 }));
      drawing.append(label(x(at), height - 12, name, "chart-tick chart-middle"));
    }
    shown.forEach((one, i) => drawing.append(line(one, i, x, y, right - MARGIN.left)));

    const rule = svg("line", { class: "chart-rule", y1: MARGIN.top, y2: height - MARGIN.bottom, x1: 0, x2: 0, visibility: "hidden" });
    const knobs = shown.map((_, i) => svg("circle", { class: `chart-knob series-${i}`, r: 4.5, visibility: "hidden" }));
    drawing.append(rule, ...knobs);
    this.#stage.replaceChildren(drawing, this.#tip);
    if (this.#choice.each !== null) this.#stage.prepend(legend(shown));

    const known = shown.map((one) => new Map(one.points.map((point) => [point.x, point.y])));
    const moments = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b);
    let index = -1;
    const show = (next: number | null, spoken = false): void => {
      index = next ?? -1;
      const at = moments[index];
      rule.setAttribute("visibility", at === undefined ? "hidden" : "visible");
      this.#tip.hidden = at === undefined;
      const values = known.map((one) => (at === undefined ? null : (one.get(at) ?? null)));
      knobs.forEach((knob, i) => {
        const of = values[i];
        knob.setAttribute("visibility", at === undefined || of === null || of === undefined ? "hidden" : "visible");
        if (at === undefined || of === null || of === undefined) return;
        knob.setAttribute("cx", String(x(at)));
        knob.setAttribute("cy", String(y(of)));
      });
      if (at === undefined) return;
      rule.setAttribute("x1", String(x(at)));
      rule.setAttribute("x2", String(x(at)));
      const when = timeText(new Date(at).toISOString());
      const unit = unitOf(value);
      const lines = shown.flatMap((one, i) => (values[i] === null ? [] : [{ name: one.name || value.name, text: amount(values[i] as number, unit), series: i }]));
      this.#tip.replaceChildren(el("p", { class: "chart-when", text: when }), ...lines.map((of) => el("p", { class: "chart-value" }, swatch(of.series), el("span", { text: of.name }), el("b", { text: of.text }))));
      place(this.#tip, x(at), this.#width);
      if (spoken) setText(this.#spoken, `${when}: ${lines.map((of) => `${of.name} ${of.text}`).join(", ")}`);
    };
    this.#onMove = (at) => show(at === null ? null : nearest(moments, from + ((at - MARGIN.left) / (right - MARGIN.left)) * (to - from)));
    this.#onStep = (by) => show(Math.min(moments.length - 1, Math.max(0, index + by)), true);
    return left_out;
  }

  // ---- bars ----

  #drawBars(value: Column): number {
    const { shown, left_out } = bars(this.#answer, this.#choice);
    if (shown.length === 0) {
      this.#stage.replaceChildren(el("p", { class: "chart-empty", text: `${value.name} has no values to draw.` }));
      return left_out;
    }
    const longest = Math.max(...shown.map(({ name }) => name.length));
    const left = Math.min(this.#width * 0.42, 14 + longest * 7.3);
    const right = this.#width - 70;
    const marks = ticks(Math.min(0, ...shown.map((bar) => bar.value)), Math.max(0, ...shown.map((bar) => bar.value)), Math.max(2, Math.floor((right - left) / 90)));
    const [low, high] = [marks[0] as number, marks.at(-1) as number];
    const x = (at: number): number => left + ((at - low) / (high - low)) * (right - left);
    const height = MARGIN.top + shown.length * BAR_HEIGHT + 30;
    const drawing = this.#sheet(height);
    drawing.append(label(left, 14, withUnit(value), "chart-title"));
    for (const mark of marks) {
      drawing.append(svg("line", { class: mark === 0 ? "chart-base" : "chart-grid", x1: x(mark), x2: x(mark), y1: MARGIN.top - 8, y2: height - 26 }));
      drawing.append(label(x(mark), height - 10, shortNumber(mark), "chart-tick chart-middle"));
    }
    const unit = unitOf(value);
    const rows = shown.map((bar, i) => {
      const y = MARGIN.top + i * BAR_HEIGHT;
      const [a, b] = [x(Math.min(0, bar.value)), x(Math.max(0, bar.value))];
      const name = label(left - 10, y + 18, fitted(bar.name, left - 14), "chart-name chart-end");
      const row = svg(
        "g",
        { class: "chart-row" },
        svg("rect", { class: "chart-hit", x: 0, y, width: this.#width, height: BAR_HEIGHT }),
        svg("rect", { class: "chart-bar", x: a, y: y + 4, width: Math.max(1, b - a), height: BAR_HEIGHT - 8, rx: 3 }),
        name,
        label(b + 7, y + 18, shortNumber(bar.value), "chart-amount"),
      );
      return row;
    });
    drawing.append(...rows);
    this.#stage.replaceChildren(drawing, this.#tip);
    let index = -1;
    const show = (next: number | null, spoken = false): void => {
      rows[index]?.classList.remove("chart-row-on");
      index = next ?? -1;
      const bar = shown[index];
      this.#tip.hidden = bar === undefined;
      if (!bar) return;
      rows[index]?.classList.add("chart-row-on");
      const text = amount(bar.value, unit);
      this.#tip.replaceChildren(el("p", { class: "chart-when", text: bar.name }), el("p", { class: "chart-value" }, el("span", { text: value.name }), el("b", { text })));
      place(this.#tip, x(bar.value), this.#width, MARGIN.top + (index + 1) * BAR_HEIGHT);
      if (spoken) setText(this.#spoken, `${bar.name}: ${text}`);
    };
    rows.forEach((row, i) => row.addEventListener("pointerenter", () => show(i)));
    this.#onMove = (at) => at === null && show(null);
    this.#onStep = (by) => show(Math.min(shown.length - 1, Math.max(0, index + by)), true);
    return left_out;
  }

  #sheet(height: number): SVGElement {
    return svg("svg", { class: "chart-sheet", width: this.#width, height, viewBox: `0 0 ${this.#width} ${height}`, "aria-hidden": "true" });
  }
}

const withUnit = (column: Column): string => {
  const unit = unitOf(column);
  return unit ? `${column.name} (${unit})` : column.name;
};

const amount = (value: number, unit: string | null): string => (unit ? `${numberText(value)} ${unit}` : numberText(value));

/** Least and greatest, of any number of them. */
function ends(numbers: readonly number[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const n of numbers) {
    if (n < low) low = n;
    if (n > high) high = n;
  }
  return [low, high];
}

function label(x: number, y: number, text: string, name: string): SVGElement {
  const node = svg("text", { class: name, x: x.toFixed(1), y: y.toFixed(1) });
  node.textContent = text;
  return node;
}

/** As much of a name as its room holds; its end is what tells names apart less often. */
function fitted(name: string, pixels: number): string {
  const chars = Math.max(4, Math.floor(pixels / 7.1));
  return name.length > chars ? `${name.slice(0, chars - 1)}…` : name;
}

function line(one: Series, i: number, x: (at: number) => number, y: (at: number) => number, pixels: number): SVGElement {
  let path = "";
  let pen_down = false;
  for (const point of thin(one.points, pixels)) {
    if (point.y === null) {
      pen_down = false;
      continue;
    }
    path += `${pen_down ? "L" : "M"}${x(point.x).toFixed(1)} ${y(point.y).toFixed(1)}`;
    pen_down = true;
  }
  const group = svg("g", { class: `chart-series series-${i}` }, svg("path", { class: "chart-line", d: path }));
  if (one.points.length <= DOTS_MAX) {
    for (const point of one.points) if (point.y !== null) group.append(svg("circle", { class: "chart-dot", cx: x(point.x), cy: y(point.y), r: 2.6 }));
  }
  return group;
}

const swatch = (i: number): HTMLElement => el("i", { class: `swatch series-${i}` });

const legend = (shown: readonly Series[]): HTMLElement =>
  el("ul", { class: "chart-legend" }, ...shown.map(({ name }, i) => el("li", {}, swatch(i), name)));

function nearest(sorted: readonly number[], at: number): number {
  let [low, high] = [0, sorted.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) < at) low = middle + 1;
    else high = middle;
  }
  const before = low - 1;
  return before >= 0 && at - (sorted[before] as number) < (sorted[low] as number) - at ? before : low;
}

/** Beside the rule, on the side that has room. */
function place(tip: HTMLElement, x: number, width: number, y = MARGIN.top): void {
  const room = tip.offsetWidth + 16;
  const left = x + room < width ? x + 12 : Math.max(0, x - room + 4);
  tip.style.setProperty("left", `${left.toFixed(0)}px`);
  tip.style.setProperty("top", `${y.toFixed(0)}px`);
}
