import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** A top-level statement of a declaration file that the compiler wrote. */
export interface Declaration {
  readonly name: string;
  readonly kind: "function" | "class" | "interface" | "type" | "const";
  /** All overloads, without `export declare` and without the doc comment. */
  readonly text: string;
  /** The doc comment's text. */
  readonly doc: string;
  /** The declaration file that has it. */
  readonly file: string;
}

export interface Entry {
  readonly declarations: readonly Declaration[];
  /** Packages of which everything is exported. */
  readonly packages: readonly string[];
  /** Names that come from other packages, by package. */
  readonly others: ReadonlyMap<string, readonly string[]>;
}

// The compiler writes each top-level statement at the beginning of a line and indents the rest, so lines tell statements apart;
// only comments on the members of a union are not indented.
const STATEMENT =
  /^(?:\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?(?:export|declare|interface|type|import)\b[^\n]*(?:\n(?:[ }]|\/\*\*[^\n]*\*\/\n \|)[^\n]*)*/gm;
const DECLARED = /^(?:export )?(?:declare )?(?:abstract )?(function|class|interface|type|const) (\w+)/;

/** Reads what an entry of the library exports, in the order of its file. */
export function readEntry(file: string): Entry {
  const declarations: Declaration[] = [];
  const packages: string[] = [];
  const others = new Map<string, string[]>();
  for (const statement of statementsOf(file)) {
    const [, star] = /^export \* from "([^"]+)"/.exec(statement) ?? [];
    const [, names, from] = /^export (?:type )?\{([^}]*)\} from "([^"]+)"/.exec(statement) ?? [];
    if (star) packages.push(star);
    else if (names !== undefined && from) {
      const exported = names
        .split(",")
        .map((name) => name.replace(/\btype /, "").trim())
        .filter(Boolean);
      if (from.startsWith("."))
        declarations.push(...exported.map((name) => declarationOf(resolve(file, from), name)));
      else others.set(from, exported);
    } else if (/^(\/\*\*[\s\S]*?\*\/\n)?export (declare|interface|type \w|abstract)/.test(statement)) {
      const name = nameOf(statement)!;
      if (!declarations.some((each) => each.name === name && each.file === file))
        declarations.push(declarationOf(file, name));
    }
  }
  return { declarations, packages, others };
}

/** Returns the declarations outside an entry that its exports name, not those that only these name. */
export function usedBy({ declarations }: Entry): Declaration[] {
  const used = new Map<string, Declaration>();
  for (const { file, text } of declarations)
    for (const name of new Set(text.match(/\b[A-Z]\w+/g))) {
      const found = declarations.some((each) => each.name === name) ? undefined : lookUp(file, name);
      if (found) used.set(name, found);
    }
  return [...used.values()];
}

function lookUp(file: string, name: string): Declaration | undefined {
  if (statementsOf(file).some((statement) => nameOf(statement) === name)) return declarationOf(file, name);
  for (const statement of statementsOf(file)) {
    const [, names, from] = /^import (?:type )?\{([^}]*)\} from "(\.[^"]+)"/.exec(statement) ?? [];
    if (names && from && new RegExp(`\\b${name}\\b`).test(names))
      return declarationOf(resolve(file, from), name);
  }
  return undefined;
}

function declarationOf(file: string, name: string): Declaration {
  const own = statementsOf(file).filter((statement) => nameOf(statement) === name);
  if (own.length === 0) {
    for (const statement of statementsOf(file)) {
      const [, names, from] = /^export (?:type )?\{([^}]*)\} from "(\.[^"]+)"/.exec(statement) ?? [];
      if (names && from && new RegExp(`\\b${name}\\b`).test(names))
        return declarationOf(resolve(file, from), name);
    }
    throw new Error(`${name} is not declared in ${file}.`);
  }
  const [, kind] = DECLARED.exec(withoutDoc(own[0]!))!;
  return {
    name,
    kind: kind as Declaration["kind"],
    text: own.map((statement) => withoutDoc(statement).replace(/^(export )?(declare )?/, "")).join("\n"),
    doc: docOf(own.find((statement) => statement.startsWith("/**")) ?? ""),
    file,
  };
}

const files = new Map<string, string[]>();

function statementsOf(file: string): string[] {
  const known = files.get(file) ?? readFileSync(file, "utf8").match(STATEMENT) ?? [];
  files.set(file, known);
  return known;
}

const resolve = (file: string, from: string) => join(dirname(file), from.replace(/\.ts$/, ".d.ts"));

const withoutDoc = (statement: string) => statement.replace(/^\/\*\*[\s\S]*?\*\/\n/, "");

const nameOf = (statement: string) => DECLARED.exec(withoutDoc(statement))?.[2];

function docOf(statement: string): string {
  const [, doc = ""] = /^\/\*\*([\s\S]*?)\*\//.exec(statement) ?? [];
  return doc.replace(/^[ \t]*\* ?/gm, "").trim();
}
