import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildSchema, findBreakingChanges, parse, print, visit } from "graphql";
import { SERVER_ERROR_CODES } from "../../client/error-codes.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { commandsOf } from "../reference/commands-page.ts";

// Everything that docs/versioning.md covers, a line each, except the GraphQL schema, which has rules of its own.

/** As of the latest release; `npm run release:freeze` writes them. */
export const RELEASED_SURFACE = "tools/release/released/surface.txt";
export const RELEASED_SCHEMA = "tools/release/released/schema.graphql";

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");

const LIBRARY = {
  plinth: "library.md",
  "plinth/testing": "testing.md",
  "plinth/client": "client.md",
  "plinth/client/graphql": "client-graphql.md",
};

/** The names in use now, sorted. A name of the library has the digest of its declaration, so that a change shows. */
function currentNames(): string[] {
  return [
    ...Object.entries(LIBRARY).flatMap(([specifier, page]) =>
      exportsOn(page).map((name) => `export ${specifier} ${name}`),
    ),
    ...commandsOf(buildProgram()).flatMap(({ path, command }) => [
      `command ${path}`,
      ...command.options.map(({ long, short }) => `option ${path} ${long ?? short}`),
    ]),
    ...documentedSettings().map((name) => `setting ${name}`),
    ...SERVER_ERROR_CODES.map((code) => `error ${code}`),
    ...[...read("docs/reference/sql.md").matchAll(/^\| `([^`]+)` \| `([^`]+)`/gm)].map(
      ([, signature, returns]) => `function ${signature} ${returns}`,
    ),
    ...[
      ...read("migrations/schema/analytics.sql").matchAll(/^comment on column (analytics\.\w+\.\w+) is/gm),
    ].map(([, column]) => `column ${column}`),
  ].sort();
}

/** Those in docs/settings.md, which test/docs/settings.test.ts compares with the code; `…_X` is the name before with another ending. */
export function documentedSettings(): string[] {
  const cells = [...read("docs/settings.md").matchAll(/^\| (`PLINTH_[^|]*) \|/gm)].map(([, cell]) => cell!);
  return cells.flatMap((cell) => {
    const names = [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
    return names.map((name) => name.replace(/^…/, names[0]!.replace(/_[A-Z]+$/, "")));
  });
}

function exportsOn(page: string): string[] {
  const [exported = ""] = read(`docs/reference/${page}`).split("\n## Types that these use\n");
  return [...exported.matchAll(/^## (\w+)\n([\s\S]*?)(?=^## |$(?![\s\S]))/gm)].map(([, name, section]) => {
    const declaration = section!.slice(section!.lastIndexOf("```ts\n"));
    return `${name} ${createHash("sha256").update(declaration).digest("hex").slice(0, 8)}`;
  });
}

/** The GraphQL schema without descriptions. */
function currentSchema(): string {
  const document = parse(read("migrations/schema/schema.graphql"), { noLocation: true });
  return `${print(visit(document, { StringValue: (_node, key) => (key === "description" ? null : undefined) }))}\n`;
}

export interface Surface {
  readonly names: readonly string[];
  readonly schema: string;
}

/**
 * Returns a sentence for each change since the release that the changelog does not mention.
 * @param unreleased the text of the entry Unreleased; empty if there is none
 */
export function unmentionedChanges(released: Surface, now: Surface, unreleased: string): string[] {
  const added = now.names.filter((name) => !released.names.includes(name));
  const broken = [
    ...released.names
      .filter((name) => !now.names.includes(name))
      .map((name) => ({ mention: mentionOf(name), change: `${name} was removed or changed.` })),
    ...findBreakingChanges(buildSchema(released.schema), buildSchema(now.schema)).map(({ description }) => ({
      mention: /\b[A-Z]\w+(?:\.\w+)?/.exec(description.replace(/^An? /, ""))?.[0] ?? description,
      change: `GraphQL: ${description}`,
    })),
  ];
  const otherwise = "or run npm run release:freeze if the version in package.json is not published yet.";
  return [
    ...broken
      .filter(({ mention }) => !unreleased.includes(`\`${mention}\``))
      .map(
        ({ mention, change }) =>
          `${change} Name \`${mention}\` under [Unreleased] in CHANGELOG.md, ${otherwise}`,
      ),
    ...(unreleased === "" ? added : []).map(
      (name) => `${name} is new. Describe it under [Unreleased] in CHANGELOG.md, ${otherwise}`,
    ),
  ];
}

export function releasedSurface(): Surface {
  return { names: read(RELEASED_SURFACE).trim().split("\n"), schema: read(RELEASED_SCHEMA) };
}

export function currentSurface(): Surface {
  return { names: currentNames(), schema: currentSchema() };
}

/** `createPlinth`, `migrate --plan`, `PLINTH_PORT`: the name as a reader of the changelog knows it. */
function mentionOf(line: string): string {
  const [kind = "", ...words] = line.split(" ");
  if (kind === "export") return words[1]!;
  if (kind === "function") return words[0]!.split("(")[0]!;
  return words.join(" ");
}
