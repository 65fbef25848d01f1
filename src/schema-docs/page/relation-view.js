import { access } from "./access.js";
import { aliases, colorOf, functions, idOf, idOfObject, incoming, relations } from "./data.js";
import { code, h, link, prose, row, section, table } from "./dom.js";
import { neighbors } from "./neighbors.js";

/** @import { PageColumn, PageDefinition, PageRelation } from "../page-data.ts" */

/** @param {PageRelation} relation */
export function relationView(relation) {
  const id = idOfObject(relation);
  const [picture, others] = [neighbors(relation), incoming.get(id) ?? []];
  return [
    heading(relation.schema, relation.kind, relation.name),
    relation.comment && h("p", { class: "lead" }, prose(relation.comment)),
    known(id),
    section(
      `${relation.columns.length} columns`,
      relation.partitionKey && h("p", { class: "note" }, "Partitioned by ", code(relation.partitionKey), "."),
      table(
        `Columns of ${relation.name}`,
        ["Column", "Type", "Description"],
        relation.columns.map((column) => columnRow(column, relation)),
        "columns",
      ),
    ),
    picture &&
      section("Relations", h("div", { class: "picture" }, picture), others.length > 0 && referring(others)),
    access(relation),
    definitions("Keys and checks", relation.constraints),
    definitions("Indexes", relation.indexes),
    definitions("Triggers", relation.triggers),
    relation.query && section("Definition", h("pre", { tabindex: 0 }, relation.query)),
  ];
}

/**
 * @param {string} schema
 * @param {string} kind
 * @param {string} name
 */
export function heading(schema, kind, name) {
  return h(
    "header",
    { class: "heading", color: colorOf(schema) },
    h("p", {}, h("span", { class: "dot" }), kind !== "schema" && [link(idOf(schema), schema), " · "], kind),
    h("h1", { tabindex: -1 }, name),
  );
}

/**
 * The names of an object, and of its parts, in the documents of other systems.
 * @param {string} id
 */
export function known(id) {
  const found = [...aliases].flatMap(([to, some]) => (to === id || to.startsWith(`${id}.`) ? some : []));
  if (found.length === 0) return null;
  const names = Map.groupBy(found, ({ name, to }) => `${name.toLowerCase()} ${to}`);
  return h(
    "ul",
    { class: "known", "aria-label": "Names in other systems" },
    [...names.values()].map((some) => {
      const { name = "", to = "" } = some[0] ?? {};
      return h(
        "li",
        {},
        code(name),
        to !== id && [" is ", link(to, code(to.slice(id.length + 1)))],
        h("span", { class: "dim" }, ` in ${some.map(({ system }) => system).join(", ")}`),
      );
    }),
  );
}

/**
 * @param {PageColumn} column
 * @param {PageRelation} relation
 */
function columnRow(column, { schema, name, primaryKey = [], references = [], kind }) {
  const target = references.find(({ columns }) => columns.includes(column.name));
  const key = target?.toColumns[target.columns.indexOf(column.name)] ?? "";
  return row(
    { id: idOf(schema, name, column.name) },
    [
      link(idOf(schema, name, column.name), code(column.name)),
      primaryKey.includes(column.name) &&
        h("span", { class: "mark", title: "Part of the primary key" }, "key"),
    ],
    [
      h("span", { class: "type" }, column.type),
      kind === "table" && !column.isRequired && h("span", { class: "dim" }, " or null"),
      column.default && h("div", { class: "dim" }, "default ", code(column.default)),
      column.generated && h("div", { class: "dim" }, column.generated),
    ],
    [
      ...prose(column.comment),
      target &&
        h(
          "div",
          {},
          "→ ",
          link(`${target.to}.${idOf(key)}`, code(label(target.to))),
          h("span", { class: "dim" }, onDelete(target.onDelete)),
        ),
      column.personalData &&
        column.personalData !== "none" &&
        h("div", {}, h("span", { class: "mark" }, `personal data: ${column.personalData}`)),
    ],
  );
}

/** @param {string} id */
function label(id) {
  const { schema, name } = relations.get(id) ?? {};
  return name ? `${schema}.${name}` : id;
}

/** @param {string} action */
const onDelete = (action) =>
  action === "cascade" ? ", deleted with it" : action === "set null" ? ", null after it is deleted" : "";

/** @param {NonNullable<ReturnType<typeof incoming.get>>} others */
function referring(others) {
  return h(
    "details",
    {},
    h("summary", {}, `${others.length} foreign key${others.length === 1 ? "" : "s"} to this table`),
    h(
      "ul",
      { class: "flow" },
      others.map(({ from, columns }) =>
        h(
          "li",
          {},
          link(
            `${idOfObject(from)}.${idOf(columns[0] ?? "")}`,
            code(`${from.schema}.${from.name} (${columns.join(", ")})`),
          ),
        ),
      ),
    ),
  );
}

/**
 * @param {string} title
 * @param {readonly PageDefinition[] | undefined} list
 */
function definitions(title, list) {
  if (!list) return null;
  return section(
    title,
    h(
      "dl",
      { class: "definitions" },
      list.flatMap(({ name, text, comment }) => [
        h("dt", {}, code(name)),
        h("dd", {}, withFunction(text), comment && h("p", { class: "dim" }, prose(comment))),
      ]),
    ),
  );
}

/**
 * The text of a trigger links to its function.
 * @param {string} text
 */
function withFunction(text) {
  const [before = "", name, after = ""] = text.split(/(?<=execute function )([\w.]+\()/);
  if (name === undefined || !functions.has(`${name})`)) return code(text);
  return h("code", {}, before, link(`${name})`, name.slice(0, -1)), `(${after}`);
}
