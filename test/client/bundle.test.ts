import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "@jest/globals";
import { build } from "esbuild";
import { SERVER_ERROR_CODES } from "../../client/error-codes.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

/** Bundles as an application does, for a page; a module of Node or of the server would make it fail. */
async function bundle(...files: string[]) {
  const { outputFiles, metafile } = await build({
    stdin: {
      contents: files.map((file) => `export * from "./client/${file}";`).join("\n"),
      resolveDir: PACKAGE_ROOT,
    },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
  });
  return {
    inputs: Object.keys(metafile.inputs),
    size: gzipSync(outputFiles[0]!.contents, { level: 9 }).length,
  };
}

test("the client has at most 15 kB, compressed, and nothing of other packages", async () => {
  const { size, inputs } = await bundle("index.ts", "graphql.ts");
  expect(size).toBeLessThan(15_000);
  expect(inputs.filter((file) => !file.startsWith("client/") && file !== "<stdin>")).toEqual([]);
});

test("the types of the schema cost nothing", async () => {
  expect((await bundle("graphql.ts")).size).toBeLessThan(1_000);
});

test("the client knows the codes of docs/errors.md", () => {
  const page = readFileSync(join(PACKAGE_ROOT, "docs/errors.md"), "utf8");
  const table = page.slice(page.indexOf("| Code | SQLSTATE"), page.indexOf("A WebSocket closes"));
  const codes = [...table.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`(\w+)`/g)].map(([, code]) => code!),
  );
  expect([...SERVER_ERROR_CODES].sort()).toEqual(codes.sort());
});
