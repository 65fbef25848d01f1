import { colorOf } from "./data.js";
import { h } from "./dom.js";
import { search } from "./search.js";

/** @import { Entry } from "./search.js" */

/**
 * The search field with its list: a combobox as the ARIA Authoring Practices describe it. `/` focuses it from anywhere.
 * @param {(id: string) => void} open
 */
export function searchBox(open) {
  /** @type {Entry[]} */
  let found = [];
  let active = -1;
  const input = /** @type {HTMLInputElement} */ (
    h("input", {
      ...{
        type: "search",
        role: "combobox",
        "aria-label": "Search",
        placeholder: "Search tables, columns, functions and comments",
        id: "search",
      },
      ...{ "aria-controls": "results", "aria-expanded": "false", "aria-autocomplete": "list" },
      ...{ autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/" },
      ...{ input: show, focus: show, keydown: press, blur: hide },
    })
  );
  const list = h("ul", {
    id: "results",
    class: "results",
    role: "listbox",
    "aria-label": "Results",
    hidden: true,
  });
  const status = h("p", { role: "status", class: "hidden" });

  function show() {
    const { found: some, count } = search(input.value);
    found = some;
    active = found.length > 0 ? 0 : -1;
    list.replaceChildren(...found.map(option));
    const isOpen = found.length > 0;
    list.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    status.textContent =
      input.value.trim() === ""
        ? ""
        : count === 0
          ? "No results"
          : `${count} result${count === 1 ? "" : "s"}`;
    mark();
  }

  function hide() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark() {
    for (const [index, item] of [...list.children].entries())
      item.setAttribute("aria-selected", String(index === active));
    const item = list.children[active];
    if (!item) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  }

  /** @param {number} index */
  function choose(index) {
    const entry = found[index];
    if (!entry) return;
    hide();
    input.value = "";
    status.textContent = "";
    open(entry.id);
  }

  /** @param {KeyboardEvent} event */
  function press(event) {
    const steps = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (steps !== 0 && found.length > 0) {
      event.preventDefault();
      if (list.hidden) return show();
      active = (active + steps + found.length) % found.length;
      mark();
    } else if (event.key === "Enter" && !list.hidden) {
      event.preventDefault();
      choose(active);
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (list.hidden) input.value = "";
      hide();
    }
  }

  /**
   * @param {Entry} entry
   * @param {number} index
   */
  function option({ kind, schema, name, comment, alias }, index) {
    return h(
      "li",
      {
        ...{ role: "option", id: `result-${index}`, "aria-selected": "false", color: colorOf(schema) },
        // The field would lose its focus before the click.
        mousedown: (event) => event.preventDefault(),
        click: () => choose(index),
      },
      h(
        "span",
        { class: "result-name" },
        kind !== "schema" && h("span", { class: "dim" }, `${schema}.`),
        name,
      ),
      h("span", { class: "result-kind" }, kind),
      (alias || comment) && h("span", { class: "result-text" }, alias ? `${alias} · ${comment}` : comment),
    );
  }

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof HTMLInputElement;
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
  return h(
    "div",
    { class: "search", role: "search" },
    input,
    h("kbd", { "aria-hidden": "true" }, "/"),
    list,
    status,
  );
}
