// Bundles the console of operators (src/console/page) into src/console/assets, which the server reads, with the documents that it sends.
// With --check, it writes nothing and fails if the committed files are stale.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import * as signIn from "../client/auth/documents.ts";
import { documentHash } from "../src/documents/document-hash.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const bundle = await build({
  absWorkingDir: root,
  entryPoints: ["src/console/page/main.tsx", "src/console/page/style.css"],
  outdir: "src/console/assets",
  alias: { "plinth/client": "./client/index.ts", "plinth/client/graphql": "./client/graphql.ts" },
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: "es2022",
  legalComments: "none",
});
const operations = await readFile(`${root}src/console/page/operations.ts`, "utf8");
const documents = [
  ...[...operations.matchAll(/graphql\(`([^`]+)`\)/g)].map(([, text]) => text!),
  ...Object.values(signIn),
];
const files = [
  ...bundle.outputFiles.map(({ path, text }) => [path.slice(root.length), text] as const),
  ["src/console/assets/index.html", await readFile(`${root}src/console/page/index.html`, "utf8")] as const,
];
files.push([
  "src/console/assets/documents.json",
  `${JSON.stringify(Object.fromEntries(documents.map((text) => [documentHash(text), text])), undefined, 2)}\n`,
]);
const stale: string[] = [];
for (const [path, text] of files) {
  const current = await readFile(root + path, "utf8").catch(() => undefined);
  if (current === text) continue;
  stale.push(path);
  if (!process.argv.includes("--check")) await writeFile(root + path, text);
}
if (stale.length === 0) console.log("The console is up to date.");
else if (process.argv.includes("--check")) {
  console.error(`Stale: ${stale.join(", ")}. Run npm run console, and commit its files.`);
  process.exitCode = 1;
} else console.log(`Wrote ${stale.join(", ")}.`);
