import { data, idOf, idOfFunction, idOfObject } from "./data.js";

/**
 * @typedef {object} Entry
 * @property {string} id
 * @property {string} kind
 * @property {string} schema
 * @property {string} name as shown: `users.email`
 * @property {string} own the last name, on which most people search: `email`
 * @property {string} comment
 * @property {string} [alias] the name in another system's documents, and the system
 */

/** @type {Entry[]} */
const entries = [
  ...data.schemas.map(({ name, comment }) => ({
    ...{ id: idOf(name), kind: "schema", schema: name, name, own: name, comment },
  })),
  ...data.relations.map((relation) => ({ ...relation, id: idOfObject(relation), own: relation.name })),
  ...data.functions.map((func) => ({
    ...{ ...func, id: idOfFunction(func), kind: "function" },
    ...{ name: `${func.name}()`, own: func.name },
  })),
  ...data.types.map((type) => ({ ...type, id: idOfObject(type), own: type.name })),
  ...data.relations.flatMap(({ schema, name, columns }) =>
    columns.map((column) => ({
      ...{ id: idOf(schema, name, column.name), kind: "column", schema, name: `${name}.${column.name}` },
      ...{ own: column.name, comment: column.comment },
    })),
  ),
];

const byId = new Map(entries.map((entry) => [entry.id, entry]));

// A name that a system and Plinth share is found as Plinth's.
for (const { system, name, to } of data.aliases) {
  const target = byId.get(to);
  if (target && plain(name) !== plain(target.own) && plain(name) !== plain(target.name))
    entries.push({ ...target, own: name, alias: `${name} in ${system}` });
}

/**
 * Upper case and underscores make no difference: `AuditLogs`, `audit logs` and `audit_logs` are one name.
 * @param {string} text
 */
function plain(text) {
  return text
    .replaceAll(/([a-z])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .replaceAll(/[_\s]+/g, " ")
    .trim();
}

const RANK_OF_KIND = ["table", "view", "materialized view", "schema", "column", "function", "type", "domain"];

/** The texts that are searched, made once. */
const texts = entries.map((entry) => ({
  entry,
  own: plain(entry.own),
  name: plain(`${entry.schema}.${entry.name}`),
  comment: plain(entry.comment),
  kind: RANK_OF_KIND.indexOf(entry.kind),
}));

/**
 * Returns the best entries for a text, and how many there are.
 * @param {string} text
 * @param {number} limit
 * @returns {{ found: Entry[], count: number }}
 */
export function search(text, limit = 40) {
  const wanted = plain(text.replace(/\(\)?$/, ""));
  if (wanted === "") return { found: [], count: 0 };
  const words = wanted.split(" ");
  const ranked = texts.flatMap((each) => {
    const rank = rankOf(each, wanted, words);
    return rank === undefined ? [] : [{ ...each, rank }];
  });
  ranked.sort((a, b) => a.rank - b.rank || a.kind - b.kind || a.own.length - b.own.length);
  /** @type {Map<string, Entry>} */
  const best = new Map();
  for (const { entry } of ranked) if (!best.has(entry.id)) best.set(entry.id, entry);
  const found = [...best.values()];
  return { found: found.slice(0, limit), count: found.length };
}

/**
 * The smaller the better: the name (of a table, then in another system, then of a view, then of anything else), its beginning, the beginning of a word in it, a part of it, its comment.
 * @param {typeof texts[number]} text
 * @param {string} wanted
 * @param {readonly string[]} words
 * @returns {number | undefined}
 */
function rankOf({ entry, own, name, comment }, wanted, words) {
  const further = entry.alias ? 0.5 : 0;
  if (own === wanted || name === wanted || name.endsWith(`.${wanted}`))
    return entry.alias
      ? 0.3
      : /^(table|schema)$/.test(entry.kind)
        ? 0
        : entry.kind.endsWith("view")
          ? 0.4
          : 0.6;
  if (own.startsWith(wanted)) return 1 + further;
  if (`.${name}`.replaceAll(/[.\s]/g, " ").includes(` ${wanted}`)) return 2 + further;
  if (words.every((word) => name.includes(word) || own.includes(word))) return 3 + further;
  if (words.every((word) => name.includes(word) || comment.includes(word))) return 5;
  return undefined;
}
