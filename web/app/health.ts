/** The streamer's signal, in one line that opens: asked for only while it is open. */

import { getHealth, type HealthSecond } from "./api";
import { el, setText, svg } from "./dom";
import { bitrate } from "./format";
import { poll, type Poll } from "./poll";

const PERIOD_MS = 2000;
const SAMPLES = 60;

const FIELDS: readonly [string, (second: HealthSecond) => string][] = [
  ["Bitrate", (second) => bitrate(second.bitrate_kbps)],
  ["Frame rate", (second) => `${Math.round(second.fps * 10) / 10} fps`],
  ["Keyframe every", (second) => (second.keyframe_interval_ms ? `${(second.keyframe_interval_ms / 1000).toFixed(1)} s` : "–")],
  ["Sound to picture", (second) => (typeof second.av_drift_ms === "number" ? `${second.av_drift_ms > 0 ? "+" : second.av_drift_ms < 0 ? "\u2212" : ""}${Math.abs(second.av_drift_ms)} ms` : "–")],
  ["Dropped", (second) => String(second.dropped ?? 0)],
];

export function healthLine(stream_id: string): HTMLElement {
  const values = FIELDS.map(() => el("dd", { text: "–" }));
  const line = svg("polyline", { class: "spark-line", fill: "none" });
  const note = el("p", { class: "health-note", text: "Bitrate over the last minute" });
  const root = el(
    "details",
    { class: "health" },
    el("summary", { class: "health-summary" }, "Streamer’s signal"),
    el(
      "div",
      { class: "health-body" },
      el("dl", { class: "health-list" }, ...FIELDS.map(([name], i) => el("div", { class: "health-field" }, el("dt", { text: name }), values[i]))),
      note,
    ),
  );
  const spark = svg("svg", { class: "spark spark-health", viewBox: "0 0 118 32", preserveAspectRatio: "none", "aria-hidden": "true" }, line);
  root.querySelector(".health-body")?.insertBefore(spark, note);

  const show = (latest: HealthSecond | null, history: readonly HealthSecond[]): void => {
    FIELDS.forEach(([, text], i) => setText(values[i] as HTMLElement, latest ? text(latest) : "–"));
    const recent = history.slice(-SAMPLES).map((second) => second.bitrate_kbps);
    const top = Math.max(1, ...recent) * 1.15;
    line.setAttribute("points", recent.map((value, i) => `${i * 2},${(31 - (value / top) * 30).toFixed(1)}`).join(" "));
  };

  let asking: Poll | undefined;
  root.addEventListener("toggle", () => {
    asking?.stop();
    asking = root.open
      ? poll(PERIOD_MS, async () => {
          try {
            const { latest, history } = await getHealth(stream_id);
            show(latest, history);
          } catch {
            show(null, []); // nothing known at the moment; the next poll may know
          }
        })
      : undefined;
  });
  return root;
}
