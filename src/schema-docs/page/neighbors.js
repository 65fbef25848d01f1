import { colorOf, idOf, idOfObject, incoming, relations } from "./data.js";
import { s } from "./dom.js";

/** @import { PageRelation } from "../page-data.ts" */
/** @typedef {{ id: string, label: string, schema: string }} Neighbor */

const MOST = 9;
const ROW = 34;
const WIDTH = 760;

/**
 * Draws a table between those that refer to it and those that it refers to; undefined without either. Where one side has many, it has
 * a box for each schema.
 * @param {PageRelation} relation
 */
export function neighbors(relation) {
  const own = idOfObject(relation);
  const left = unique(
    (incoming.get(own) ?? []).map(({ from }) => idOfObject(from)).filter((id) => id !== own),
  );
  const right = unique((relation.references ?? []).map(({ to }) => to).filter((id) => id !== own));
  if (left.length + right.length === 0) return undefined;
  const [before, after] = [boxes(left, relation.schema), boxes(right, relation.schema)];
  const height = Math.max(before.length, after.length, 1) * ROW + 8;
  const middle = height / 2;
  const place = (/** @type {number} */ index, /** @type {readonly Neighbor[]} */ side) =>
    middle + (index - (side.length - 1) / 2) * ROW;
  const label = `${relation.name}: ${count(left)} on the left refer to it; it refers to ${count(right)} on the right`;
  return s(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${height}`, class: "neighbors", role: "group", "aria-label": label },
    before.map((_, index) => line(232, place(index, before), 276, middle)),
    after.map((_, index) => line(484, middle, 528, place(index, after))),
    before.map((neighbor, index) => box(neighbor, 2, 230, place(index, before))),
    box({ id: own, label: relation.name, schema: relation.schema }, 276, 208, middle, true),
    after.map((neighbor, index) => box(neighbor, 528, 230, place(index, after))),
  );
}

/** @param {readonly string[]} ids */
const count = (ids) => `${ids.length} table${ids.length === 1 ? "" : "s"}`;

/** @param {readonly string[]} ids */
const unique = (ids) => [...new Set(ids)];

/**
 * @param {readonly string[]} ids
 * @param {string} here
 * @returns {Neighbor[]}
 */
function boxes(ids, here) {
  const all = ids.map((id) => {
    const { schema = "", name = id } = relations.get(id) ?? {};
    return { id, label: schema === here ? name : `${schema}.${name}`, schema };
  });
  if (all.length <= MOST) return all;
  return [...Map.groupBy(all, ({ schema }) => schema)].map(([schema, some]) => {
    const [only] = some;
    if (some.length === 1 && only) return only;
    return { id: idOf(schema), label: `${schema} · ${some.length} tables`, schema };
  });
}

/**
 * @param {number} x1
 * @param {number} y1
 * @param {number} x2
 * @param {number} y2
 */
function line(x1, y1, x2, y2) {
  const bend = (x1 + x2) / 2;
  return s(
    "g",
    { class: "line" },
    s("path", { d: `M${x1},${y1}C${bend},${y1} ${bend},${y2} ${x2 - 6},${y2}` }),
    s("path", { d: `M${x2 - 7},${y2 - 3.5}L${x2},${y2}L${x2 - 7},${y2 + 3.5}Z`, class: "tip" }),
  );
}

/**
 * @param {Neighbor} neighbor
 * @param {number} x
 * @param {number} width
 * @param {number} y
 */
function box({ id, label, schema }, x, width, y, isOwn = false) {
  const most = Math.floor((width - 16) / 7.3);
  const text = label.length > most ? `${label.slice(0, most - 1)}…` : label;
  return s(
    isOwn ? "g" : "a",
    {
      ...(!isOwn && { href: `#${id}`, "aria-label": label }),
      color: colorOf(schema),
      class: isOwn ? "own" : "",
    },
    s("title", {}, label),
    s("rect", { x, y: y - 13, width, height: 26, rx: 5 }),
    s("text", { x: x + width / 2, y: y + 4 }, text),
  );
}
