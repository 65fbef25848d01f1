// Writes docs/reference from the comments of the source: the library, the commands, the functions of the database.
// With --check, it writes nothing and fails if a page is stale.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unlessMissing } from "../src/support/files.ts";
import { PACKAGE_ROOT } from "../src/support/paths.ts";
import { commandsPage } from "./reference/commands-page.ts";
import { indexPage } from "./reference/index-page.ts";
import { libraryPage } from "./reference/library-page.ts";
import { sqlPage } from "./reference/sql-page.ts";

const declarations = mkdtempSync(join(tmpdir(), "plinth-declarations-"));
try {
  const compiler = join(PACKAGE_ROOT, "node_modules/typescript/bin/tsc");
  const project = join(PACKAGE_ROOT, "tools/reference/tsconfig.json");
  execFileSync(process.execPath, [compiler, "-p", project, "--outDir", declarations], { stdio: "inherit" });
  const entry = (specifier: string, file: string, title: string, introduction: string) =>
    libraryPage({ specifier, file: join(declarations, file), title, introduction });
  const pages = {
    "README.md": indexPage(),
    "library.md": entry(
      "plinth",
      "src/index.d.ts",
      "The library",
      "How an application uses it: [extend.md](../extend.md), [mount.md](../mount.md).",
    ),
    "graphile.md": entry(
      "plinth/graphile",
      "src/graphql/graphile.d.ts",
      "Building blocks of plugins",
      "How a plugin uses them: [extend.md](../extend.md#plugins).",
    ),
    "testing.md": entry(
      "plinth/testing",
      "src/testing/index.d.ts",
      "Tests of applications",
      "How a test uses it: [extend.md](../extend.md#a-test).",
    ),
    "client.md": entry(
      "plinth/client",
      "client/index.d.ts",
      "The client",
      "How a page or a program uses it: [client.md](../client.md).",
    ),
    "client-graphql.md": entry(
      "plinth/client/graphql",
      "client/graphql.d.ts",
      "Typed documents of the client",
      "How a page or a program uses them: [client.md](../client.md).",
    ),
    "commands.md": commandsPage(),
    "sql.md": sqlPage(),
  };
  const folder = join(PACKAGE_ROOT, "docs/reference");
  const stale = Object.entries(pages).filter(
    ([name, text]) => unlessMissing(() => readFileSync(join(folder, name), "utf8")) !== text,
  );
  const names = stale.map(([name]) => `docs/reference/${name}`).join(", ");
  if (stale.length === 0) console.log("The reference is up to date.");
  else if (process.argv.includes("--check")) {
    console.error(`Stale: ${names}. Run npm run reference, and commit its pages.`);
    process.exitCode = 1;
  } else {
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of stale) writeFileSync(join(folder, name), text);
    console.log(`Wrote ${names}.`);
  }
} finally {
  rmSync(declarations, { recursive: true });
}
