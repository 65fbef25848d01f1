import { data, idOf } from "./data.js";
import { code, h, link, prose, section } from "./dom.js";
import { picture } from "./picture.js";

/** The first page: the schemas, and the names of other systems. */
export function homeView() {
  const drawing = picture("schemas", "Schemas and their foreign keys");
  const columns = data.relations.reduce((sum, { columns: { length } }) => sum + length, 0);
  return [
    h(
      "header",
      { class: "heading" },
      h("h1", { tabindex: -1 }, `${data.title} schema`),
      h(
        "p",
        {},
        `${data.relations.length} tables and views, ${columns} columns, ${data.functions.length} functions.`,
      ),
    ),
    h("ul", { class: "cards" }, data.schemas.map(card)),
    drawing && section("Foreign keys between schemas", drawing),
    data.aliases.length > 0 &&
      section(
        "Names in other systems",
        h("p", { class: "note" }, "The search finds these names, too."),
        systems(),
      ),
    section(
      "Roles",
      h(
        "dl",
        { class: "list" },
        data.roles.flatMap(({ name, text }) => [h("dt", {}, code(name)), h("dd", {}, text)]),
      ),
    ),
  ];
}

/** @param {typeof data.schemas[number]} schema */
function card({ name, comment, color }) {
  const own = data.relations.filter(({ schema }) => schema === name);
  const tables = own.filter(({ kind }) => kind === "table").length;
  const counts = [
    counted(tables, "table"),
    counted(own.length - tables, "view"),
    counted(data.functions.filter(({ schema }) => schema === name).length, "function"),
  ];
  return h(
    "li",
    { color },
    h("a", { href: `#${idOf(name)}` }, h("span", { class: "dot" }), name),
    h("p", {}, prose(comment)),
    h("p", { class: "dim" }, counts.filter(Boolean).join(" · ")),
  );
}

/**
 * @param {number} count
 * @param {string} word
 */
const counted = (count, word) => (count === 0 ? "" : `${count} ${word}${count === 1 ? "" : "s"}`);

function systems() {
  return [...Map.groupBy(data.aliases, ({ system }) => system)].map(([system, names]) =>
    h(
      "details",
      {},
      h("summary", {}, system, h("span", { class: "dim" }, ` ${names.length} names`)),
      h(
        "dl",
        { class: "list" },
        names.flatMap(({ name, to }) => [h("dt", {}, code(name)), h("dd", {}, link(to, code(to)))]),
      ),
    ),
  );
}
