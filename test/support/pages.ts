import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

/** The pages that people write: README, CHANGELOG, docs/ and docs/decisions/. */
export const PAGES: readonly string[] = [
  "README.md",
  "CHANGELOG.md",
  ...["docs", "docs/decisions"].flatMap((folder) =>
    readdirSync(join(PACKAGE_ROOT, folder))
      .filter((name) => name.endsWith(".md") && !/^(access-contract|licences)\.md$/.test(name))
      .map((name) => `${folder}/${name}`),
  ),
];

export function readPage(page: string): string {
  return readFileSync(join(PACKAGE_ROOT, page), "utf8");
}

/** The code of a page: blocks in some languages, or all, and inline code. */
export function codeOf(page: string): { blocks: { language: string; text: string }[]; inline: string[] } {
  const text = readPage(page);
  const blocks = [...text.matchAll(/^ *```(\w*)\n(.*?)^ *```$/gms)].map(([, language, block]) => ({
    language: language!,
    text: block!,
  }));
  const inline = [...text.replace(/^ *```.*?^ *```$/gms, "").matchAll(/`([^`\n]+)`/g)].map(
    ([, code]) => code!,
  );
  return { blocks, inline };
}
