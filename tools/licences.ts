// Writes docs/licences.md. With --check, it writes nothing and fails if the page is stale.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unlessMissing } from "../src/support/files.ts";
import { PACKAGE_ROOT } from "../src/support/paths.ts";
import { licencesPage, readLockfile } from "./release/licences.ts";

const file = join(PACKAGE_ROOT, "docs/licences.md");
const page = licencesPage(readLockfile());
if (unlessMissing(() => readFileSync(file, "utf8")) === page) console.log("docs/licences.md is up to date.");
else if (process.argv.includes("--check")) {
  console.error("docs/licences.md is stale. Run npm run licences, and commit it.");
  process.exitCode = 1;
} else {
  writeFileSync(file, page);
  console.log("Wrote docs/licences.md.");
}
