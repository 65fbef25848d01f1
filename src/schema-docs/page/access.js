import { data } from "./data.js";
import { code, h, prose, row, section, table } from "./dom.js";

/** @import { PagePolicy, PageRelation } from "../page-data.ts" */
/** @typedef {"*" | readonly string[] | undefined} Scope */

const OPERATIONS = ["select", "insert", "update", "delete"];

/**
 * The grants of each role, and the policies that say on which rows.
 * @param {PageRelation} relation
 */
export function access(relation) {
  const grants = relation.grants ?? {};
  const others = new Set(Object.values(grants).flatMap((each) => Object.keys(each)));
  const operations = [...OPERATIONS, ...[...others].filter((name) => !OPERATIONS.includes(name)).sort()];
  return section(
    "Access",
    h("p", { class: "note" }, rightsOf(relation)),
    table(
      "Grants by role",
      ["Role", ...operations],
      data.roles.map(({ name, text }) =>
        row(
          {},
          h("span", { title: text }, name),
          ...operations.map((operation) =>
            scope(grants[name]?.[operation], relation, `${name} ${operation}`),
          ),
        ),
      ),
      "grants",
    ),
    (relation.policies ?? []).map(policy),
  );
}

/** @param {PageRelation} relation */
function rightsOf({ kind, hasRowSecurity, isInvoker, policies }) {
  if (kind === "materialized view")
    return "Its rows are kept until the next refresh; grants alone decide who reads them.";
  if (kind === "view")
    return isInvoker
      ? "Reads its tables with the rights of the reader: their policies apply."
      : "Reads its tables with the rights of its owner: its query decides which rows a role sees.";
  if (!hasRowSecurity) return "Row-level security is off: a grant reaches every row.";
  return policies
    ? "Row-level security is on: a role reaches the rows that one of its policies allows, with the operations that are granted."
    : "Row-level security is on and there is no policy: only the owner's functions reach its rows.";
}

/**
 * @param {Scope} columns
 * @param {PageRelation} relation
 * @param {string} label
 */
function scope(columns, relation, label) {
  if (columns === undefined)
    return h("span", { class: "none" }, "–", h("span", { class: "hidden" }, "not granted"));
  if (columns === "*") return h("span", { class: "all" }, "yes");
  return h(
    "details",
    {},
    h(
      "summary",
      {},
      `${columns.length} of ${relation.columns.length}`,
      h("span", { class: "hidden" }, ` columns: ${label}`),
    ),
    columns.map((name) => h("div", {}, code(name))),
  );
}

/** @param {PagePolicy} policy */
function policy({ name, command, roles, comment, isRestrictive, using, check }) {
  return h(
    "div",
    { class: "policy" },
    h("h3", {}, comment ? prose(comment) : name),
    h(
      "p",
      { class: "dim" },
      isRestrictive ? "Restricts " : "Lets ",
      h("b", {}, roles.join(", ")),
      " ",
      h("b", {}, command === "all" ? "select, insert, update and delete" : command),
      isRestrictive ? " to rows that meet the condition. " : " rows that meet the condition. ",
      code(name),
    ),
    using && condition("Rows", using),
    check && check !== using && condition(command === "insert" ? "New rows" : "Changed rows", check),
  );
}

/**
 * @param {string} label
 * @param {string} text
 */
const condition = (label, text) =>
  h("figure", {}, h("figcaption", {}, label), h("pre", { tabindex: 0 }, text));
