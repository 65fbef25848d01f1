import { code, h, link, section } from "./dom.js";
import { search } from "./search.js";

/**
 * For an address that nothing has, such as a table's name without its schema or its name in another system.
 * @param {string} id
 */
export function missingView(id) {
  const { found } = search(id, 12);
  return [
    h(
      "header",
      { class: "heading" },
      h("h1", { tabindex: -1 }, "Not found"),
      h("p", {}, "Nothing has the address ", code(id), "."),
    ),
    found.length > 0 &&
      section(
        "Did you mean",
        h(
          "ul",
          { class: "flow" },
          found.map((entry) =>
            h(
              "li",
              {},
              link(entry.id, code(`${entry.kind === "schema" ? "" : `${entry.schema}.`}${entry.name}`)),
            ),
          ),
        ),
      ),
  ];
}
