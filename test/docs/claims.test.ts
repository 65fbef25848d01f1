import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import type { Command } from "commander";
import { buildProgram } from "../../src/cli/program.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { documentedSettings } from "../../tools/release/surface.ts";
import { codeOf, PAGES, readPage } from "../support/pages.ts";

// All that README and docs/ name exists: commands with their options, settings, scripts, files, sections and exports. Their
// SQL runs in sql.test.ts, and their GraphQL in graphql.test.ts.

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");

/** Lines of shell blocks and inline code. */
function shellOf(page: string): string[] {
  const { blocks, inline } = codeOf(page);
  const lines = blocks
    .filter(({ language }) => language === "sh" || language === "")
    .flatMap(({ text }) => text.replaceAll("\\\n", " ").split("\n"));
  return [...lines, ...inline].map((line) => line.replace(/\s#\s.*$/, ""));
}

describe("commands", () => {
  /** The fault of a call of plinth, if any. */
  function faultOf(words: readonly string[]): string | undefined {
    let command: Command = buildProgram();
    const rest = [...words];
    while (command.commands.length > 0) {
      const next = command.commands.find((child) => child.name() === rest[0]);
      if (!next) break;
      command = next;
      rest.shift();
    }
    // "plinth host" is the name of a connection.
    if (words[0] === "host") return undefined;
    if (command.parent === null)
      return rest[0]?.startsWith("-") || rest.length === 0 ? undefined : `no command ${rest[0]}`;
    const known = new Set([...optionsOf(command), "--help", "--config", "--version"]);
    const unknown = rest.filter((word) => /^--[a-z]/.test(word)).map((word) => word.split("=")[0]!);
    return unknown.filter((option) => !known.has(option)).map((option) => `no option ${option}`)[0];
  }

  /** Of a command and, for a group, of all in it: `migrate --plan` is `migrate up --plan`. */
  function optionsOf(command: Command): string[] {
    return [...command.options.map(({ long }) => long ?? ""), ...command.commands.flatMap(optionsOf)];
  }

  const calls = PAGES.flatMap((page) =>
    shellOf(page).flatMap((line) =>
      [
        ...line.matchAll(
          /(?:^|[\s(])(?:npx )?(?<!["\w])plinth ((?:--?[a-z][\w-]*|[a-z][a-z-]*)(?:[^|;&)"]*))/g,
        ),
      ].map(([, text]) => ({ page, words: text!.trim().split(/\s+/) })),
    ),
  );

  test("and their options exist", () => {
    expect(calls.length).toBeGreaterThan(200);
    const faults = calls.flatMap(({ page, words }) => {
      const fault = faultOf(words);
      return fault ? [`${page}: plinth ${words.join(" ")}: ${fault}`] : [];
    });
    expect(faults).toEqual([]);
  });

  test("that do not exist are found", () => {
    expect(faultOf(["strat"])).toBe("no command strat");
    expect(faultOf(["rollback", "--all"])).toBe("no option --all");
    expect(faultOf(["migrate", "--plan"])).toBeUndefined();
  });
});

/** Of the tests, not of Plinth. */
const ELSEWHERE = ["PLINTH_SEED"];

test("settings exist", () => {
  const known = new Set([...documentedSettings(), ...ELSEWHERE]);
  const faults = PAGES.flatMap((page) =>
    [...readPage(page).matchAll(/(?<!:|…)\b(PLINTH_[A-Z][A-Z_]*[A-Z])\b(?!…)/g)]
      .map(([, name]) => name!)
      .filter((name) => !known.has(name))
      .map((name) => `${page}: ${name}`),
  );
  expect([...new Set(faults)]).toEqual([]);
});

test("scripts of package.json exist", () => {
  const scripts = new Set(Object.keys(JSON.parse(read("package.json")).scripts));
  const named = PAGES.flatMap((page) =>
    shellOf(page).flatMap((line) =>
      [...line.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => `${page}: ${name}`),
    ),
  );
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((each) => !scripts.has(each.split(": ")[1]!))).toEqual([]);
});

test("files exist", () => {
  // The paths of extend.md are those of an application; test/package follows them.
  const faults = PAGES.filter((page) => page !== "docs/extend.md").flatMap((page) =>
    codeOf(page)
      .inline.flatMap((code) => [
        ...code.matchAll(/(?:^|[\s"])((?:src|test|bench|deploy|examples|client|tools|templates)\/[\w./-]+)/g),
      ])
      .map(([, path]) => path!.replace(/[./]+$/, ""))
      .filter((path) => !existsSync(join(PACKAGE_ROOT, path)))
      .map((path) => `${page}: ${path}`),
  );
  expect(faults).toEqual([]);
});

test("links lead to files and sections that exist", () => {
  const links = PAGES.flatMap((page) =>
    [
      ...readPage(page)
        .replace(/^ *```.*?^ *```$/gms, "")
        .matchAll(/\]\(([^)\s]+)\)/g),
    ].map(([, link]) => ({ page, link: link! })),
  ).filter(({ link }) => !/^[a-z]+:/.test(link));
  expect(links.length).toBeGreaterThan(300);
  const faults = links.filter(({ page, link }) => {
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? page : join(dirname(page), path);
    if (!existsSync(join(PACKAGE_ROOT, target))) return true;
    return anchor !== undefined && target.endsWith(".md") && !anchorsOf(target).has(anchor);
  });
  expect(faults).toEqual([]);
});

/** As GitHub names the sections of a page. */
function anchorsOf(page: string): ReadonlySet<string> {
  const headings = [
    ...readPage(page)
      .replace(/^```.*?^```$/gms, "")
      .matchAll(/^#+ (.+)$/gm),
  ];
  const seen = new Map<string, number>();
  return new Set(
    headings.map(([, heading]) => {
      const name = heading!
        .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .trim()
        .replace(/\s/g, "-");
      const count = seen.get(name) ?? 0;
      seen.set(name, count + 1);
      return count === 0 ? name : `${name}-${count}`;
    }),
  );
}

test("imports from the library exist", () => {
  const pages: Record<string, string> = {
    plinth: "library.md",
    "plinth/testing": "testing.md",
    "plinth/client": "client.md",
    "plinth/client/graphql": "client-graphql.md",
  };
  const imports = PAGES.flatMap((page) =>
    codeOf(page).blocks.flatMap(({ text }) =>
      [
        ...text.matchAll(
          /import (?:type )?\{([^}]+)\} from "(plinth(?:\/(?:testing|client|client\/graphql))?)"/g,
        ),
      ].flatMap(([, names, from]) =>
        names!.split(",").map((name) => ({ page, from: from!, name: name.replace(/\btype /, "").trim() })),
      ),
    ),
  );
  expect(imports.length).toBeGreaterThan(10);
  const faults = imports.filter(
    ({ from, name }) => !read(`docs/reference/${pages[from]}`).includes(`\n## ${name}\n`),
  );
  expect(faults).toEqual([]);
});
