/** Asks for the admin token, and keeps it as long as the tab lives. */

import { el, setText } from "../dom";

const TOKEN_KEY = "millstream.token";

export function storedToken(): string | null {
  try {
    return sessionStorage.getItem(TOKEN_KEY);
  } catch {
    return null; // storage is forbidden: asked for on each visit
  }
}

export function storeToken(token: string | null): void {
  try {
    if (token === null) sessionStorage.removeItem(TOKEN_KEY);
    else sessionStorage.setItem(TOKEN_KEY, token);
  } catch {
    // storage is forbidden: the token lasts as long as the page
  }
}

/** A form that gives the token to `enter`, which says what is wrong with it, or nothing. */
export function gate(enter: (token: string) => Promise<string | null>, said = ""): HTMLElement {
  const field = el("input", { class: "gate-field", id: "token", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "gate-said" });
  const button = el("button", { class: "action", type: "submit", text: "Open the console" });
  const complaint = el("p", { class: "gate-said", id: "gate-said", role: "alert", text: said });
  const form = el("form", { class: "gate-form" }, el("label", { for: "token", text: "Admin token" }), el("div", { class: "gate-row" }, field, button), complaint);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    setText(complaint, "");
    void enter(field.value.trim()).then((wrong) => {
      button.disabled = false;
      if (wrong === null) return;
      setText(complaint, wrong);
      field.focus();
      field.select();
    });
  });
  queueMicrotask(() => field.focus());
  return el(
    "section",
    { class: "gate", "aria-labelledby": "gate-title" },
    el("h1", { class: "gate-title", id: "gate-title", text: "Ask the lake" }),
    el("p", { class: "gate-lead", text: "Every broadcast leaves rows: segments, events, the encoder’s signal by the second. Here they answer SQL, up to the last second." }),
    form,
    el("p", { class: "gate-hint" }, "The server wrote it to ", el("code", { text: "data/admin-token" }), " when it first started, unless it was given one. It stays in this tab."),
  );
}
