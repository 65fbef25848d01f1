import { h } from "./dom.js";

/**
 * Returns a picture that the page carries, if it has one of this name. Its boxes are links.
 * @param {string} name
 * @param {string} label
 */
export function picture(name, label) {
  const template = document.getElementById(`picture-${name}`);
  if (!(template instanceof HTMLTemplateElement)) return null;
  const svg = template.content.querySelector("svg")?.cloneNode(true);
  if (!(svg instanceof SVGElement)) return null;
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", label);
  return h("div", { class: "picture", tabindex: 0, role: "region", "aria-label": label }, svg);
}
