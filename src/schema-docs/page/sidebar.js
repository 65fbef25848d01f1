import { data, idOf, idOfObject } from "./data.js";
import { h, link } from "./dom.js";

/** All schemas with their tables; the schema of the page that is shown is open. */
export function sidebar() {
  const nav = h(
    "nav",
    { id: "contents", "aria-label": "Schemas" },
    data.schemas.map((schema) => {
      const relations = data.relations.filter((relation) => relation.schema === schema.name);
      return h(
        "details",
        { color: schema.color },
        h(
          "summary",
          {},
          h("span", { class: "dot" }),
          schema.name,
          h("span", { class: "dim" }, ` ${relations.length}`),
        ),
        h(
          "ul",
          { class: "tables" },
          h("li", {}, link(idOf(schema.name), "Overview")),
          relations.map((relation) => h("li", {}, link(idOfObject(relation), relation.name))),
        ),
      );
    }),
  );

  /** @param {string} id the address that is shown */
  function mark(id) {
    for (const details of nav.querySelectorAll("details")) {
      const current = [...details.querySelectorAll("a")].filter((each) => {
        const isCurrent = each.hash === `#${id}`;
        if (isCurrent) each.setAttribute("aria-current", "page");
        else each.removeAttribute("aria-current");
        return isCurrent;
      });
      details.open = current.length > 0;
      current[0]?.scrollIntoView({ block: "nearest" });
    }
  }
  return { nav, mark };
}
