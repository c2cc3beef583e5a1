/** The list of keys, in a dialog that the browser keeps the focus in. */

import { el } from "../dom";
import { icon } from "../icons";
import { BINDINGS } from "./keys";

export function helpDialog(): HTMLDialogElement {
  const shut = el("button", { class: "control control-small", type: "button", "aria-label": "Close" }, icon("close"));
  const dialog = el(
    "dialog",
    { class: "help", "aria-labelledby": "help-title" },
    el("div", { class: "help-head" }, el("h2", { id: "help-title", text: "Keyboard" }), shut),
    el(
      "dl",
      { class: "help-list" },
      ...BINDINGS.map(({ shown, does }) => el("div", { class: "help-row" }, el("dt", {}, ...shown.map((key) => el("kbd", { text: key }))), el("dd", { text: does }))),
    ),
  );
  shut.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    // A click on the backdrop has the dialog itself as its target.
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}
