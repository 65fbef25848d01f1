import { data, idOfFunction, idOfObject } from "./data.js";
import { code, h, link, prose, section } from "./dom.js";
import { picture } from "./picture.js";
import { heading } from "./relation-view.js";

/** @import { PageData, PageFunction, PageType } from "../page-data.ts" */

/**
 * @param {PageData["schemas"][number]} schema
 * @param {string} id
 */
export function schemaView({ name, comment }, id) {
  const isHere = (/** @type {{ schema: string }} */ object) => object.schema === name;
  const [relations, functions, types] = [data.relations, data.functions, data.types].map((all) =>
    all.filter(isHere),
  );
  const drawing = picture(id, `Foreign keys of ${name}`);
  return [
    heading(name, "schema", name),
    comment && h("p", { class: "lead" }, prose(comment)),
    relations?.length !== 0 &&
      section(
        "Tables and views",
        h(
          "dl",
          { class: "list" },
          data.relations
            .filter(isHere)
            .flatMap((relation) => [
              h(
                "dt",
                {},
                link(idOfObject(relation), code(relation.name)),
                relation.kind !== "table" && h("span", { class: "mark" }, relation.kind),
              ),
              h("dd", {}, prose(relation.comment)),
            ]),
        ),
      ),
    drawing && section("Relations", drawing),
    functions?.length !== 0 && section("Functions", h("div", {}, data.functions.filter(isHere).map(func))),
    types?.length !== 0 &&
      section("Types", h("dl", { class: "definitions" }, data.types.filter(isHere).flatMap(type))),
  ];
}

/** @param {PageFunction} func */
function func(func) {
  const { name, arguments: list, returns, comment, volatility, isDefiner, callers } = func;
  return h(
    "div",
    { class: "function", id: idOfFunction(func) },
    h(
      "h3",
      {},
      code(`${name}(`),
      h("span", { class: "dim code" }, list),
      code(")"),
      returns && h("span", { class: "dim code" }, ` → ${returns}`),
    ),
    comment && h("p", {}, prose(comment)),
    h(
      "p",
      { class: "dim" },
      callers ? `Callable by ${callers.join(", ")}` : "Called inside the database",
      volatility && ` · ${volatility}`,
      isDefiner && " · with the owner's rights",
    ),
  );
}

/** @param {PageType} type */
function type(type) {
  return [
    h("dt", { id: idOfObject(type) }, code(type.name), h("span", { class: "mark" }, type.kind)),
    h("dd", {}, code(type.text), type.comment && h("p", { class: "dim" }, prose(type.comment))),
  ];
}
