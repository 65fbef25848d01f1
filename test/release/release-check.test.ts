import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { parse } from "yaml";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import {
  MAX_PACKED_MB,
  MAX_UNPACKED_MB,
  packFaults,
  secretFiles,
  textFaults,
} from "../../tools/release/pack-faults.ts";
import { namedVersionFaults, POINTS, versionFaults } from "../../tools/release/points.ts";
import { withDist } from "../support/dist.ts";

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");

/** Points that also hold between releases. */
const ALWAYS = [
  "the reference is fresh",
  "the console is fresh",
  "the list of licences is fresh",
  "all licences are allowed",
  "the package has what it needs and nothing else",
];

test("the check-list prints each point, and its exit code says whether one failed", async () => {
  const { status, stdout } = await withDist(async () =>
    spawnSync(process.execPath, ["tools/release-check.ts", "--json"], {
      cwd: PACKAGE_ROOT,
      encoding: "utf8",
    }),
  );
  const { isReady, results } = JSON.parse(stdout) as {
    isReady: boolean;
    results: { name: string; status: string; faults: string[]; action: string }[];
  };
  expect(results.map(({ name }) => name)).toEqual(POINTS.map(({ name }) => name));
  for (const name of ALWAYS)
    expect(results.find((result) => result.name === name)).toMatchObject({ status: "ok", faults: [] });
  for (const result of results) expect(result.action).not.toBe("");
  expect(status).toBe(results.some((result) => result.status === "failed") ? 1 : 0);
  // Without --all, points that take minutes are open.
  expect(isReady).toBe(false);
});

test("a version that differs between the three files is a fault", () => {
  const lockfile = (version: string) => ({ packages: { "": { version } } });
  const changelog = (heading: string) => `# Changelog\n\n## ${heading}\n\n- a\n`;
  const faults = (version: string, locked: string, heading: string) =>
    versionFaults({ version }, lockfile(locked), changelog(heading));
  expect(faults("1.1.0", "1.1.0", "[1.1.0] - 2027-01-02")).toEqual([]);
  expect(faults("1.1.0", "1.0.0", "[1.0.0] - 2026-12-01")).toEqual([
    "package-lock.json has 1.0.0, package.json 1.1.0.",
    "The newest entry of CHANGELOG.md is 1.0.0, package.json has 1.1.0.",
  ]);
  expect(faults("1.1.0", "1.1.0", "[1.1.0]")).toEqual(["The entry 1.1.0 has no date."]);
  expect(faults("1.1.0", "1.1.0", "[Unreleased]")).toEqual([
    "CHANGELOG.md has changes under [Unreleased]: give them the version.",
  ]);
  expect(versionFaults({ version: "1.1.0" }, lockfile("1.1.0"), "# Changelog\n")).toEqual([
    "CHANGELOG.md has no entry.",
  ]);
});

test("a page that names another version is a fault", () => {
  const text = "plinth-1.0.0-rc.1.tgz, image: plinth:1.0.0 and the release\ncandidate 1.0.0-rc.2";
  expect(namedVersionFaults("docs/x.md", text, "1.0.0")).toEqual([
    "docs/x.md names the version 1.0.0-rc.1, package.json has 1.0.0.",
    "docs/x.md names the version 1.0.0-rc.2, package.json has 1.0.0.",
  ]);
});

test("foreign files, secrets, paths of a machine and a package that is too large are faults", () => {
  const packed = (paths: string[], megabytes = 1) => ({
    filename: "plinth.tgz",
    size: megabytes * 1e6,
    unpackedSize: megabytes * 1e6,
    files: [...paths, "README.md", "CHANGELOG.md", "LICENSE", "migrations/CHECKSUMS", "docs/licences.md"].map(
      (path) => ({ path }),
    ),
  });
  expect(packFaults(packed(["package.json"]))).toEqual([]);
  expect(packFaults(packed(["test/house.test.ts"]))).toEqual([
    "test/house.test.ts does not belong into the package.",
  ]);
  // None of these exists, and a file that is read would be missing.
  for (const path of [
    "deploy/secrets/owner",
    "docs/.env",
    "templates/.env.local",
    "examples/secrets.json",
    "docs/jwt.key",
  ])
    expect(secretFiles([path])).toEqual([`${path} may be a secret.`]);
  expect(secretFiles(["dist/src/database/secrets.js", "deploy/create-secrets.sh", "docs/keys.md"])).toEqual(
    [],
  );
  expect(packFaults(packed([], 21))).toEqual([
    "The package has 21.0 MB packed, more than 5 MB.",
    "The package has 21.0 MB unpacked, more than 20 MB.",
  ]);
  const key = `-----BEGIN PRIVATE KEY-----\n${"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0w".slice(0, 40)}`;
  for (const text of [key, `npm_${"a".repeat(36)}`, `AKIA${"A".repeat(16)}`])
    expect(textFaults("docs/x.md", `see ${text} there`)).toEqual([
      "docs/x.md contains what looks like a key or a token.",
    ]);
  expect(textFaults("docs/x.md", `open ${["", "home", "ada", "plinth"].join("/")} there`)).toEqual([
    "docs/x.md names a path of a machine: /home/ada/plinth",
  ]);
  expect(textFaults("dist/x.js", `"${PACKAGE_ROOT}/src/index.ts"`)).toHaveLength(1);
});

test("the workflow publishes a candidate as next, with provenance and after everything is checked", () => {
  const { permissions, jobs } = parse(read("tools/release/publish.yml"));
  expect(permissions).toEqual({ contents: "read" });
  expect(jobs.publish.permissions).toEqual({ contents: "read", "id-token": "write" });
  const commands = jobs.publish.steps.flatMap(({ run }: { run?: string }) => run ?? []) as string[];
  const publish = commands.findIndex((command) => command.startsWith("npm publish --provenance "));
  expect(commands.indexOf(".ci/run")).toBeLessThan(publish);
  expect(commands.indexOf("npm run release:check")).toBeLessThan(publish);
  const [, chooseTag] = /--tag "\$\((.*)\)"$/.exec(commands[publish]!)!;
  for (const [name, tag] of [
    ["v1.0.0-rc.1", "next"],
    ["v1.0.0", "latest"],
  ])
    expect(
      spawnSync("sh", ["-c", chooseTag!], { env: { GITHUB_REF_NAME: name }, encoding: "utf8" }).stdout.trim(),
    ).toBe(tag);
});

test("docs/releasing.md names the scripts and the limits", () => {
  const page = read("docs/releasing.md");
  const { scripts } = JSON.parse(read("package.json"));
  const named = [...page.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name!);
  expect(named.length).toBeGreaterThan(3);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
  expect(page.replaceAll("\n", " ")).toContain(
    `above ${MAX_PACKED_MB} MB to download or ${MAX_UNPACKED_MB} MB unpacked`,
  );
});
