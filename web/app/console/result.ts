/** An answer as it is shown: how many rows, how long it took, the table and the chart. */

import { el, setFlag } from "../dom";
import type { Answer } from "./ask";
import { Chart } from "./chart";
import { csv, download } from "./csv";
import { Grid, ROWS_MAX } from "./grid";
import { firstChoice } from "./plot";

export type View = "table" | "chart";

/** `view` is what was looked at last; `viewed` says what is now. */
export function result(answer: Answer, took_ms: number, view: View, viewed: (view: View) => void): HTMLElement {
  const rows = answer.rows.length;
  const summary = el("p", { class: "result-summary" }, el("b", { text: `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"}` }), ` in ${(took_ms / 1000).toFixed(took_ms < 9995 ? 2 : 1)} s`);
  const save = el("button", { class: "quiet-button", type: "button", text: "Download CSV", on: { click: () => download(csv(answer), fileName(new Date())) } });
  const choice = firstChoice(answer);
  const stage = el("div", { class: "result-stage" });
  const made: Partial<Record<View, HTMLElement>> = {};
  const make = { table: () => new Grid(answer).root, chart: () => (choice ? new Chart(answer, choice).root : el("div")) };
  const tabs = (["table", "chart"] as const).map((name) =>
    el("button", { class: "tab", type: "button", "aria-pressed": "false", "data-view": name, text: name === "table" ? "Table" : "Chart", on: { click: () => show(name) } }),
  );
  const show = (name: View): void => {
    stage.replaceChildren((made[name] ??= make[name]()));
    for (const tab of tabs) tab.setAttribute("aria-pressed", String(tab.dataset["view"] === name));
    setFlag(root, "data-chart", name === "chart");
    viewed(name);
  };
  const root = el(
    "div",
    { class: "result" },
    el("div", { class: "result-bar" }, choice && el("div", { class: "tabs", role: "group", "aria-label": "Show as" }, ...tabs), summary, save),
    ...notes(answer).map((text) => el("p", { class: "result-note", text })),
    stage,
  );
  if (answer.columns.length === 0 || rows === 0) {
    save.hidden = answer.columns.length === 0;
    stage.replaceChildren(answer.columns.length === 0 ? el("p", { class: "result-none", text: "Nothing came back." }) : el("p", { class: "result-none", text: "No row fits this statement." }));
  } else {
    stage.replaceChildren((made.table = make.table()));
    if (choice) show(view);
  }
  return root;
}

function notes(answer: Answer): string[] {
  const found = [];
  if (answer.rows.length > ROWS_MAX) found.push(`The table shows the first ${ROWS_MAX.toLocaleString("en")} rows; the CSV has all of them.`);
  const names = answer.columns.map(({ name }) => name);
  const twice = new Set(names.filter((name, i) => names.indexOf(name) !== i));
  if (twice.size > 0) found.push(`More than one column is called ${[...twice].join(", ")}, and only the last of them came through. Give each its own name with AS.`);
  return found;
}

/** `millstream-20261121-083102.csv`, in the viewer's own time. */
function fileName(now: Date): string {
  const two = (n: number): string => String(n).padStart(2, "0");
  const day = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  return `millstream-${day}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}.csv`;
}
