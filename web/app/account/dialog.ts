/** The dialogs of an account: log in, sign up, another password. The browser keeps the focus in them. */

import { ApiError } from "../api";
import { el, setText } from "../dom";
import { icon } from "../icons";
import { session } from "./session";

interface Field {
  name: string;
  label: string;
  type: "text" | "email" | "password";
  autocomplete: string;
  hint?: string;
  min?: number;
  max?: number;
}

interface Shape {
  title: string;
  lead: string;
  fields: readonly Field[];
  submit: string;
  send(values: Record<string, string>): Promise<void>;
  /** The other dialog that may be meant. */
  other?: { ask: string; label: string; shape: () => Shape };
}

const PASSWORD_CHARS_MIN = 8;
const PASSWORD_CHARS_MAX = 128;

const fresh = (label: string): Field => ({ name: "password", label, type: "password", autocomplete: "new-password", hint: `At least ${PASSWORD_CHARS_MIN} characters`, min: PASSWORD_CHARS_MIN, max: PASSWORD_CHARS_MAX });

const logIn = (): Shape => ({
  title: "Log in",
  lead: "",
  fields: [
    { name: "login", label: "Name or e-mail", type: "text", autocomplete: "username" },
    { name: "password", label: "Password", type: "password", autocomplete: "current-password" },
  ],
  submit: "Log in",
  send: ({ login = "", password = "" }) => session.logIn(login.trim(), password),
  other: { ask: "No account yet?", label: "Sign up", shape: signUp },
});

const signUp = (): Shape => ({
  title: "Sign up",
  lead: "To write in chats. Watching and reading need no account.",
  fields: [
    { name: "name", label: "Name", type: "text", autocomplete: "username", hint: "What others see: 3 to 25 letters, digits, _ or -", min: 3, max: 25 },
    { name: "email", label: "E-mail", type: "email", autocomplete: "email", hint: "Nobody sees it" },
    fresh("Password"),
  ],
  submit: "Sign up",
  send: ({ name = "", email = "", password = "" }) => session.signUp(name.trim(), email.trim(), password),
  other: { ask: "You have an account?", label: "Log in", shape: logIn },
});

const anotherPassword = (): Shape => ({
  title: "Change password",
  lead: "You stay logged in here and are logged out everywhere else.",
  fields: [{ name: "old", label: "Password now", type: "password", autocomplete: "current-password" }, fresh("New password")],
  submit: "Change password",
  send: ({ old = "", password = "" }) => session.changePassword(old, password),
});

export const showLogIn = (): void => show(logIn());
export const showChangePassword = (): void => show(anotherPassword());

function show(first: Shape): void {
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
  const fill = (shape: Shape): void => {
    dialog.replaceChildren(...content(shape, () => dialog.close(), fill));
    dialog.querySelector<HTMLElement>("input")?.focus();
  };
  dialog.addEventListener("close", () => dialog.remove());
  // The player's keys are the page's, not the dialog's.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("pointerdown", (event) => {
    // A click on the backdrop has the dialog itself as its target.
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  fill(first);
}

function content(shape: Shape, close: () => void, turn: (shape: Shape) => void): HTMLElement[] {
  const shut = el("button", { class: "control control-small", type: "button", "aria-label": "Close" }, icon("close"));
  shut.addEventListener("click", close);
  const inputs = shape.fields.map((field) =>
    el("input", {
      class: "dialog-field",
      id: `dialog-${field.name}`,
      name: field.name,
      type: field.type,
      autocomplete: field.autocomplete,
      autocapitalize: "none",
      spellcheck: "false",
      required: true,
      minlength: field.min,
      maxlength: field.max,
      "aria-describedby": field.hint && `dialog-${field.name}-hint`,
    }),
  );
  const complaint = el("p", { class: "dialog-said", role: "alert" });
  const submit = el("button", { class: "action", type: "submit", text: shape.submit });
  const form = el("form", { class: "dialog-form" });
  shape.fields.forEach((field, i) => {
    form.append(el("div", { class: "dialog-row" }, el("label", { for: `dialog-${field.name}`, text: field.label }), inputs[i], field.hint ? el("p", { class: "dialog-hint", id: `dialog-${field.name}-hint`, text: field.hint }) : null));
  });
  form.append(complaint, submit);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (submit.disabled) return;
    submit.disabled = true;
    setText(complaint, "");
    const values = Object.fromEntries(inputs.map((input) => [input.name, input.value]));
    shape.send(values).then(close, (error: unknown) => {
      submit.disabled = false;
      if (!(error instanceof ApiError)) throw error;
      setText(complaint, sentence(error.message));
      inputs.at(-1)?.select();
    });
  });
  const parts: HTMLElement[] = [el("div", { class: "help-head" }, el("h2", { id: "dialog-title", text: shape.title }), shut)];
  if (shape.lead) parts.push(el("p", { class: "dialog-lead", text: shape.lead }));
  parts.push(form);
  const { other } = shape;
  if (other) {
    const button = el("button", { class: "dialog-link", type: "button", text: other.label });
    button.addEventListener("click", () => turn(other.shape()));
    parts.push(el("p", { class: "dialog-other" }, `${other.ask} `, button));
  }
  return parts;
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
