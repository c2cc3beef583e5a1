/**
 * Building elements without a framework: one function, `el`, and drawn icons.
 *
 * Styles come from class names and data attributes only; the one inline style in the
 * program is set through CSSOM, which a Content-Security-Policy without `unsafe-inline` allows.
 */

type Child = Node | string | null | undefined | false;
type Listener<K extends keyof HTMLElementEventMap> = (event: HTMLElementEventMap[K]) => void;

export interface Attributes {
  class?: string | false;
  text?: string;
  on?: { [K in keyof HTMLElementEventMap]?: Listener<K> };
  [name: string]: unknown;
}

/** Creates an element; attributes that are false, null or undefined are left out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on" || name === "text") continue;
    if (value === false || value === null || value === undefined) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [name, listener] of Object.entries(attributes.on ?? {})) {
    node.addEventListener(name, listener as EventListener);
  }
  if (attributes.text !== undefined) node.append(attributes.text);
  append(node, children);
  return node;
}

/** Appends what there is to append. */
export function append(node: Element, children: readonly Child[]): void {
  for (const child of children) if (child) node.append(child);
}

/** Changes text only when it differs, so that screen readers and layout are left alone. */
export function setText(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets or removes a boolean-ish data attribute that styles look at. */
export function setFlag(node: Element, name: string, on: boolean): void {
  if (node.hasAttribute(name) !== on) node.toggleAttribute(name, on);
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes. */
export function svg(tag: string, attributes: Record<string, string | number>, ...children: Element[]): SVGElement {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}
