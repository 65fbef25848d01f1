/** @typedef {Node | string | number | false | null | undefined} Child */
/** @typedef {Record<string, string | number | boolean | undefined | ((event: any) => void)>} Attributes */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Creates an element. Texts never become markup.
 * @param {string} tag
 * @param {Attributes} attributes functions listen to the event of their name
 * @param {readonly (Child | readonly Child[])[]} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * The same for a picture.
 * @param {string} tag
 * @param {Attributes} attributes
 * @param {readonly (Child | readonly Child[])[]} children
 * @returns {SVGElement}
 */
export function s(tag, attributes = {}, ...children) {
  return fill(/** @type {SVGElement} */ (document.createElementNS(SVG, tag)), attributes, children);
}

/**
 * @template {HTMLElement | SVGElement} T
 * @param {T} element
 * @param {Attributes} attributes
 * @param {readonly (Child | readonly Child[])[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "color") element.style.setProperty("--color", String(value));
    else if (value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat())
    if (child !== null && child !== undefined && child !== false)
      element.append(child instanceof Node ? child : String(child));
  return element;
}

/**
 * @param {string} id
 * @param {readonly (Child | readonly Child[])[]} children
 */
export const link = (id, ...children) => h("a", { href: `#${id}` }, ...children);

/** @param {string} text */
export const code = (text) => h("code", {}, text);

/**
 * Text with the parts between backquotes as code, and a line for each of its lines.
 * @param {string} text
 */
export function prose(text) {
  return text.split("\n").flatMap((line, index) => [...(index > 0 ? [h("br")] : []), ...inline(line)]);
}

/** @param {string} line */
const inline = (line) => line.split("`").map((part, index) => (index % 2 === 1 ? code(part) : part));

/**
 * @param {string} title
 * @param {readonly (Child | readonly Child[])[]} children
 */
export function section(title, ...children) {
  return h("section", {}, h("h2", {}, title), ...children);
}

/**
 * A table whose roles are written, because a narrow window lays its rows out as blocks.
 * @param {string} label
 * @param {readonly string[]} heads
 * @param {readonly HTMLElement[]} rows
 * @param {string} name
 */
export function table(label, heads, rows, name = "") {
  return h(
    "table",
    { role: "table", "aria-label": label, class: name },
    h(
      "thead",
      { role: "rowgroup" },
      h(
        "tr",
        { role: "row" },
        heads.map((head) => h("th", { role: "columnheader", scope: "col" }, head)),
      ),
    ),
    h("tbody", { role: "rowgroup" }, rows),
  );
}

/**
 * @param {Attributes} attributes
 * @param {Child | readonly Child[]} head
 * @param {readonly (Child | readonly Child[])[]} cells
 */
export function row(attributes, head, ...cells) {
  return h(
    "tr",
    { role: "row", ...attributes },
    h("th", { role: "rowheader", scope: "row" }, ...[head].flat()),
    cells.map((cell) => h("td", { role: "cell" }, ...[cell].flat())),
  );
}
