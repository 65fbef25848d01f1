import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { PageData } from "../../src/schema-docs/page-data.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

/** The committed page, which `plinth docs --check` keeps fresh. */
export const SCHEMA_PAGE = join(PACKAGE_ROOT, "docs/schema/index.html");

export function pageDataOf(html = readFileSync(SCHEMA_PAGE, "utf8")): PageData {
  const [, json] = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html)!;
  return JSON.parse(json!);
}
