import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";

/** For machines: what the page is rendered from. */
export const CONTRACT_FILE = join(PACKAGE_ROOT, "test/access/contract.jsonl");
export const CONTRACT_PAGE = join(PACKAGE_ROOT, "docs/access-contract.md");

/** The committed file; undefined before the first one. */
export const readCommitted = (): string | undefined =>
  existsSync(CONTRACT_FILE) ? readFileSync(CONTRACT_FILE, "utf8") : undefined;
