import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import {
  BUNDLED,
  installedWith,
  isAllowed,
  type Lockfile,
  readLockfile,
} from "../../tools/release/licences.ts";

test("the packages are all that a package needs, from the folder where Node finds them", () => {
  const one = { version: "1.0.0", license: "MIT" };
  const lockfile: Lockfile = {
    packages: {
      "": { version: "1.0.0" },
      "node_modules/a": { ...one, dependencies: { b: "^2.0.0" }, optionalDependencies: { c: "*" } },
      "node_modules/a/node_modules/b": { version: "2.0.0", license: "GPL-3.0", dependencies: { d: "*" } },
      "node_modules/b": one,
      "node_modules/c": {
        ...one,
        peerDependencies: { e: "*", f: "*" },
        peerDependenciesMeta: { f: { optional: true } },
      },
      "node_modules/d": { version: "1.0.0" },
      "node_modules/e": one,
      "node_modules/f": one,
      "node_modules/unrelated": one,
    },
  };
  expect(
    installedWith(lockfile, ["a"]).map(({ name, version, licence }) => `${name} ${version} ${licence}`),
  ).toEqual(["a 1.0.0 MIT", "b 2.0.0 GPL-3.0", "c 1.0.0 MIT", "d 1.0.0 none", "e 1.0.0 MIT"]);
});

test("a licence is allowed if it, or one of those that it offers, is on the list", () => {
  expect(["MIT", "(AFL-2.1 OR BSD-3-Clause)", "MIT OR GPL-2.0"].map(isAllowed)).toEqual([true, true, true]);
  expect(["GPL-3.0", "none", "MIT AND GPL-2.0", "SEE LICENSE IN x"].map(isAllowed)).toEqual([
    false,
    false,
    false,
    false,
  ]);
});

test("the lockfile has the packages that are installed here, with the licences that they state", () => {
  const installed = installedWith(readLockfile(), ["express", "pg", "grafast"]);
  expect(installed.length).toBeGreaterThan(60);
  for (const name of ["express", "pg", "grafast"]) {
    const manifest = JSON.parse(
      readFileSync(join(PACKAGE_ROOT, "node_modules", name, "package.json"), "utf8"),
    );
    expect(installed).toContainEqual({ name, version: manifest.version, licence: manifest.license });
  }
});

test("the packages in the bundle of the console are those that it imports", () => {
  const folder = join(PACKAGE_ROOT, "src/console/page");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.tsx?$/.test(name),
  );
  const imported = files.flatMap((name) =>
    [...readFileSync(join(folder, name), "utf8").matchAll(/^import (?!type).*from "([^."][^"/]*)/gm)].map(
      ([, from]) => from!,
    ),
  );
  expect([...new Set(imported)].filter((name) => name !== "plinth").sort()).toEqual([...BUNDLED]);
});
