// JSON as it was written: numbers with all digits, objects with their keys in order and with repeated keys. JSON.parse loses
// all three.

/** A leaf is its JSON text, with strings and numbers in one spelling. */
export type Tree = string | readonly Tree[] | Members;
/** Keys that look like indexes come first, as in JavaScript: no response has them, only JSON values, whose keys have no order. */
export class Members {
  readonly entries: readonly (readonly [string, Tree])[];
  constructor(entries: readonly (readonly [string, Tree])[]) {
    const isIndex = ([key]: readonly [string, Tree]) => /^(0|[1-9]\d{0,8})$/.test(key);
    const indexes = entries.filter(isIndex).sort(([a], [b]) => Number(a) - Number(b));
    this.entries = [...indexes, ...entries.filter((entry) => !isIndex(entry))];
  }
}

const TOKEN = /\s*("(?:[^"\\]|\\.)*"|[-+.\w]+|[[\]{}:,])\s*/y;

/** @throws SyntaxError */
export function parseTree(text: string): Tree {
  // Also rejects what the tokens below would let pass.
  JSON.parse(text);
  let position = 0;
  let token = "";
  function next(): string {
    TOKEN.lastIndex = position;
    token = TOKEN.exec(text)?.[1] ?? "";
    position = TOKEN.lastIndex;
    return token;
  }
  function value(): Tree {
    if (token === "[") {
      const items: Tree[] = [];
      if (next() === "]") return items;
      for (;;) {
        items.push(value());
        if (next() === "]") return items;
        next();
      }
    }
    if (token === "{") {
      const entries: [string, Tree][] = [];
      if (next() === "}") return new Members(entries);
      for (;;) {
        const key = JSON.parse(token) as string;
        next();
        next();
        entries.push([key, value()]);
        if (next() === "}") return new Members(entries);
        next();
      }
    }
    if (token.startsWith('"')) return JSON.stringify(JSON.parse(token));
    return NUMBER.test(token) ? oneSpelling(token) : token;
  }
  next();
  return value();
}

const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/;

/** A number as its exact value: JSON does not tell 1.0 from 1, but a double cannot hold all digits. */
function oneSpelling(text: string): string {
  const [, sign, whole, fraction = "", exponent = "0"] = NUMBER.exec(text)!;
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (!significant) return "0";
  const power = Number(exponent) - fraction.length + digits.length - significant.length;
  return power >= 0 && power < 40
    ? `${sign}${significant}${"0".repeat(power)}`
    : `${sign}${significant}e${power}`;
}

/** The first place where two trees differ, with what is there. */
export function difference(a: Tree, b: Tree, path = "$"): string | undefined {
  if (typeof a === "string" || typeof b === "string")
    return a === b ? undefined : `${path}: ${show(a)} and ${show(b)}`;
  if (a instanceof Members && b instanceof Members) {
    const [keysOfA, keysOfB] = [a, b].map(({ entries }) => entries.map(([key]) => key).join(", "));
    if (keysOfA !== keysOfB) return `${path}: keys ${keysOfA} and ${keysOfB}`;
    for (const [i, [key, value]] of a.entries.entries()) {
      const found = difference(value, b.entries[i]![1], `${path}.${key}`);
      if (found) return found;
    }
    return undefined;
  }
  if (a instanceof Members || b instanceof Members) return `${path}: ${show(a)} and ${show(b)}`;
  for (const [i, item] of a.entries()) {
    if (i >= b.length) break;
    const found = difference(item, b[i]!, `${path}[${i}]`);
    if (found) return found;
  }
  return a.length === b.length ? undefined : `${path}: ${a.length} items and ${b.length}`;
}

/** The member of this name, if the tree is an object with it. */
export function member(tree: Tree, name: string): Tree | undefined {
  return tree instanceof Members ? tree.entries.find(([key]) => key === name)?.[1] : undefined;
}

function show(tree: Tree): string {
  if (typeof tree === "string") return tree.length > 200 ? `${tree.slice(0, 200)}…` : tree;
  return tree instanceof Members ? `an object of ${tree.entries.length}` : `a list of ${tree.length}`;
}
