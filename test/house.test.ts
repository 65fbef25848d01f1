import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../src/support/paths.ts";

/** The floors of src/, from top to bottom. A file imports from its own floor or from a lower one. */
const FLOORS: readonly (readonly string[])[] = [
  ["cli", "index.ts"],
  ["start", "testing"],
  [
    "access-contract",
    "backup",
    "migration-plan",
    "upgrade",
    "drift",
    "schema-dump",
    "schema-docs",
    "http",
    "console",
    "init",
    "restore-rows",
  ],
  ["graphql", "documents"],
  ["demo", "accounts", "application", "answerer", "jobs", "privacy"],
  ["import", "keys", "export", "casbin", "payments", "limits", "live", "archive", "audit", "maintenance"],
  ["database", "request", "mail"],
  ["config", "oauth", "observability"],
  ["auth", "connection", "wal"],
  ["support"],
];

/** The folders of src/ that plugins may import from. From src/graphql, they use only the context and the limits. */
const OPEN_TO_PLUGINS = ["request", "accounts", "live", "auth", "support", "graphql", "payments"];
const GRAPHQL_FOR_PLUGINS = /^src\/graphql\/((context|compiled-statement)\.ts|limits\/)/;

/** Imports that break a rule, each with its reason. An entry that no import needs fails the test. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "src/graphql/preset.ts -> plugins/index.ts":
    "The preset is the one place that lists the plugins, which use its context.",
};

/** Files that no other file imports, each with its reason. */
const ENTRIES: Readonly<Record<string, string>> = {
  "src/cli/main.ts": "plinth.js starts it.",
  "src/cli/plinth.js": "The executable of the package.",
  "src/graphql/graphile.ts": "The library's entry plinth/graphile.",
  "src/http/websocket/ws.d.ts": "The compiler reads it.",
  "src/index.ts": "The library.",
  "src/schema-docs/page/main.js": "The page of the schema begins with it.",
  "src/testing/index.ts": "The library's entry plinth/testing.",
  "src/wal/program.ts": "PostgreSQL's archive_command and restore_command run it.",
};

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** Static, dynamic and type imports, and workers by `new URL(…)`. */
const IMPORT = /(?:\bfrom|\bimport|\bimport\s*\(|\bnew URL\()\s*"(\.[^"]+)"/g;

function readImports(): Graph {
  const files = ["src", "plugins"].flatMap((root) =>
    readdirSync(join(PACKAGE_ROOT, root), { recursive: true, encoding: "utf8" })
      .map((file) => `${root}/${file.replaceAll("\\", "/")}`)
      // The console is a page of its own, bundled for the browser.
      .filter((file) => /\.(ts|js)$/.test(file) && !file.startsWith("src/console/")),
  );
  return new Map(
    files.map((file) => {
      const text = readFileSync(join(PACKAGE_ROOT, file), "utf8");
      const folder = join(PACKAGE_ROOT, dirname(file));
      const targets = [...text.matchAll(IMPORT)]
        .map(([, path]) => relative(PACKAGE_ROOT, join(folder, path!)).replaceAll("\\", "/"))
        .filter((path) => /^(src|plugins)\/.*\.(ts|js)$/.test(path) && existsSync(join(PACKAGE_ROOT, path)));
      return [file, new Set(targets)];
    }),
  );
}

/** "cli" for src/cli/run.ts, "index.ts" for src/index.ts, "plugins" for all plugins. */
function roomOf(file: string): string {
  const [root, room] = file.split("/");
  return root === "src" ? room! : root!;
}

const floorOf = (room: string): number => FLOORS.findIndex((rooms) => rooms.includes(room));

/** The rule that an import breaks, if any. */
function faultOf(from: string, to: string): string | undefined {
  const [room, target] = [roomOf(from), roomOf(to)];
  if (room === target) return undefined;
  if (target === "plugins") return "only the preset imports plugins";
  if (room !== "plugins") return floorOf(target) < floorOf(room) ? "imports from a higher floor" : undefined;
  if (!OPEN_TO_PLUGINS.includes(target)) return `src/${target} is not open to plugins`;
  return target === "graphql" && !GRAPHQL_FOR_PLUGINS.test(to) ? "not open to plugins" : undefined;
}

/** The circles of a graph: its strongly connected components of two or more nodes (Tarjan's algorithm), sorted. */
function circlesOf(graph: Graph): string[][] {
  const indexes = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const circles: string[][] = [];
  function visit(node: string): void {
    indexes.set(node, indexes.size);
    lowest.set(node, indexes.get(node)!);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      if (!indexes.has(next)) {
        visit(next);
        lowest.set(node, Math.min(lowest.get(node)!, lowest.get(next)!));
      } else if (stack.includes(next)) lowest.set(node, Math.min(lowest.get(node)!, indexes.get(next)!));
    }
    if (lowest.get(node) !== indexes.get(node)) return;
    const circle = stack.splice(stack.indexOf(node));
    if (circle.length > 1) circles.push(circle.sort());
  }
  for (const node of graph.keys()) if (!indexes.has(node)) visit(node);
  return circles;
}

/** The graph of the folders, without the imports that are exceptions. */
function roomsOf(graph: Graph): Graph {
  const rooms = new Map<string, Set<string>>();
  for (const [from, targets] of graph)
    for (const to of targets) {
      if (roomOf(from) === roomOf(to) || `${from} -> ${to}` in EXCEPTIONS) continue;
      rooms.set(roomOf(from), (rooms.get(roomOf(from)) ?? new Set()).add(roomOf(to)));
    }
  return rooms;
}

const imports = readImports();
const fileCircles = circlesOf(imports);
const edges = [...imports].flatMap(([from, targets]) => [...targets].map((to) => [from, to] as const));
const faults = new Map(
  edges.flatMap(([from, to]) => {
    const fault = faultOf(from, to);
    return fault ? [[`${from} -> ${to}`, fault] as const] : [];
  }),
);

test("each folder and loose file of src has a floor, and each floor's folder exists", () => {
  expect(readdirSync(join(PACKAGE_ROOT, "src")).sort()).toEqual(FLOORS.flat().sort());
});

test("imports point to the same floor or a lower one, and plugins import from open folders only", () => {
  expect(edges.length).toBeGreaterThan(500);
  expect([...faults].filter(([edge]) => !(edge in EXCEPTIONS))).toEqual([]);
});

test.each(Object.keys(EXCEPTIONS))("the exception %s is still needed", (edge) => {
  expect([...faults.keys()]).toContain(edge);
});

/** Imports of values; a package that is only imported with `import()` is optional. */
const PACKAGE_IMPORT = /^(?:import|export)(?! type)[^;]*?from "([^".][^"]*)"|^import "([^".][^"]*)"/gm;

test("src and plugins import only packages that Plinth installs", () => {
  const { dependencies } = JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8"));
  const imported = new Set(
    [...imports.keys()].flatMap((file) =>
      [...readFileSync(join(PACKAGE_ROOT, file), "utf8").matchAll(PACKAGE_IMPORT)]
        .map(([, from, alone]) => (from ?? alone)!.match(/^(@[^/]+\/)?[^/]+/)![0])
        .filter((name) => !name.startsWith("node:")),
    ),
  );
  expect(imported.size).toBeGreaterThan(20);
  expect([...imported].filter((name) => !(name in dependencies))).toEqual([]);
});

// A job, mail, command or plugin that its list omits is such a file.
test("each file is imported by another, except the entries", () => {
  const imported = new Set(edges.map(([, to]) => to));
  expect([...imports.keys()].filter((file) => !imported.has(file)).sort()).toEqual(
    Object.keys(ENTRIES).sort(),
  );
});

test("src/wal imports nothing from other folders, because PostgreSQL may run a copy of it", () => {
  const ofWal = edges.filter(([from]) => roomOf(from) === "wal");
  expect(ofWal.length).toBeGreaterThan(2);
  expect(ofWal.filter(([, to]) => roomOf(to) !== "wal")).toEqual([]);
});

test("no files import each other in a circle", () => {
  expect(fileCircles).toEqual([]);
});

test("no folders import each other in a circle, except through the preset", () => {
  expect(circlesOf(roomsOf(imports))).toEqual([]);
});

describe("the rules", () => {
  test.each([
    ["src/limits/turn-limit.ts", "src/http/app.ts", "imports from a higher floor"],
    ["src/http/app.ts", "plugins/index.ts", "only the preset imports plugins"],
    ["plugins/auth.ts", "src/database/migrate.ts", "src/database is not open to plugins"],
    ["plugins/auth.ts", "src/graphql/preset.ts", "not open to plugins"],
    ["plugins/auth.ts", "src/graphql/context.ts", undefined],
    ["src/http/app.ts", "src/support/errors.ts", undefined],
  ])("%s importing %s: %s", (from, to, fault) => {
    expect(faultOf(from, to)).toBe(fault);
  });

  test("find a circle of any length", () => {
    const graph = new Map(
      Object.entries({ a: ["b"], b: ["c"], c: ["a"], d: ["a", "e"], e: ["d"], f: ["a"] }),
    );
    const found = circlesOf(new Map([...graph].map(([node, targets]) => [node, new Set(targets)])));
    expect(found.sort()).toEqual([
      ["a", "b", "c"],
      ["d", "e"],
    ]);
  });
});
