/** The front page while nobody broadcasts: how to be the first. */

import { el } from "./dom";
import { icon, mark } from "./icons";

export function howToPublish(): HTMLElement {
  const server = `rtmp://${location.hostname}/live`;
  const create = `curl -X POST ${location.origin}/api/streams \\
  -H "Authorization: Bearer $MILLSTREAM_ADMIN_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"title": "My first broadcast", "category": "Trials"}'`;
  const ffmpeg = `ffmpeg -re -stream_loop -1 -i clip.mp4 -c:v libx264 -preset veryfast \\
  -tune zerolatency -g 50 -c:a aac -f flv ${server}/STREAM_KEY`;
  return el(
    "section",
    { class: "empty", "aria-labelledby": "empty-title" },
    el("div", { class: "empty-art" }, mark(true)),
    el("h2", { class: "empty-title", id: "empty-title", text: "The wheel is still" }),
    el("p", { class: "empty-lead", text: "Start a broadcast and it appears here by itself, about a second behind your camera." }),
    el(
      "ol",
      { class: "steps" },
      step("Get a stream key", el("p", { text: "The reply holds the stream_key. It is shown once, so keep it." }), code(create)),
      step(
        "Publish from OBS",
        el("p", {}, "Settings, then Stream:"),
        el(
          "dl",
          { class: "fields" },
          field("Service", "Custom…"),
          field("Server", server, true),
          field("Stream key", "the key from step 1"),
          field("Keyframe interval", "2 s (Output, Streaming)"),
        ),
      ),
      step("Or from ffmpeg", code(ffmpeg)),
    ),
  );
}

const step = (title: string, ...children: HTMLElement[]): HTMLElement =>
  el("li", { class: "step" }, el("h3", { class: "step-title", text: title }), ...children);

const field = (name: string, value: string, copied = false): HTMLElement =>
  el("div", { class: "field" }, el("dt", { text: name }), el("dd", {}, copied ? el("code", { text: value }) : value, copied && copyButton(value)));

const code = (text: string): HTMLElement =>
  el("div", { class: "code" }, el("pre", { tabindex: "0" }, el("code", { text })), copyButton(text));

function copyButton(text: string): HTMLElement | false {
  // Browsers offer the clipboard on https and localhost only.
  if (!navigator.clipboard) return false;
  const button = el("button", { class: "copy", type: "button", "aria-label": "Copy" }, icon("copy"));
  button.addEventListener("click", () => {
    void navigator.clipboard.writeText(text).then(() => {
      button.replaceChildren(icon("check"));
      button.setAttribute("aria-label", "Copied");
      window.setTimeout(() => {
        button.replaceChildren(icon("copy"));
        button.setAttribute("aria-label", "Copy");
      }, 1500);
    });
  });
  return button;
}
