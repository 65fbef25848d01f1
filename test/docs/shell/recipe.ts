import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";
import { type Command, readPage, shellBlocks } from "../../support/shell/pages.ts";
import type { Terminal } from "../../support/shell/terminal.ts";
import { ELSEWHERE } from "./elsewhere.ts";
import { EXCUSED } from "./rules.ts";

/** How the commands of a page run: what its reader has, and what the reader fills in. */
export interface Recipe {
  readonly page: string;
  /** The commands of the page that it runs; all, if omitted. */
  readonly commands?: RegExp;
  /** Runs first as the owner: rows that the page's reader has. */
  readonly sql?: string;
  /** Contents by name. */
  readonly files?: () => Readonly<Record<string, string>>;
  /** Commands of the reader that the page does not show, before the first command that begins so; "" is the first of all. */
  readonly before?: Readonly<Record<string, string>>;
  /** The reader's values for those of the page. */
  readonly replace?: Readonly<Record<string, string>>;
  /** Exit codes other than 0, by how a command begins. */
  readonly codes?: Readonly<Record<string, number>>;
  /** What commands print that the page tells in prose, by how they begin. */
  readonly prints?: Readonly<Record<string, RegExp>>;
  /** The numbers that the page shows are examples. */
  readonly hasExampleNumbers?: boolean;
  /** Commands that run until they are stopped, and print an address. */
  readonly services?: RegExp;
}

/** The commands of the page that run here, in their order. */
function commandsOf({ page, commands }: Recipe): Command[] {
  return shellBlocks(page)
    .flatMap((block) => block.commands)
    .filter(
      ({ text }) => !isElsewhere(page, text) && !/\bnpm start\b/.test(text) && (commands?.test(text) ?? true),
    );
}

const isExcused = (text: string): boolean => EXCUSED.some(({ commands }) => commands.test(text));

export const isElsewhere = (page: string, text: string): boolean =>
  isExcused(text) || ELSEWHERE.some((each) => each.page === page && (each.commands?.test(text) ?? true));

/** The code of the first block below the first mention of a file. */
export function fileOf(page: string, name: string): string {
  const text = readPage(page);
  const [, code] = /^```\w*\n(.*?)^```$/ms.exec(text.slice(text.indexOf(`\`${name}\``)))!;
  return code!;
}

/** The first block of a page in a language, without its `…`. */
export function fenced(page: string, language: string): string {
  const [, code] = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "ms").exec(readPage(page))!;
  return code!;
}

/** Runs a recipe and returns what differs from the page; nothing if all is as it says. */
export async function faultsOf(
  recipe: Recipe,
  terminal: Terminal,
  env: Readonly<Record<string, string>>,
  replace: (text: string) => string = (text) => text,
): Promise<string[]> {
  // The paths of an example are those of this repository.
  const folder = recipe.page.startsWith("examples/")
    ? PACKAGE_ROOT
    : join(terminal.folder, recipe.page.replaceAll("/", "-"));
  mkdirSync(folder, { recursive: true });
  for (const [name, content] of Object.entries(recipe.files?.() ?? {})) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  const fill = (text: string) =>
    replace(
      Object.entries(recipe.replace ?? {}).reduce((filled, [from, to]) => filled.replaceAll(from, to), text),
    );
  const commands = commandsOf(recipe);
  const faults: string[] = [];
  const unsaid = new Set(Object.keys(recipe.prints ?? {}));
  const before = new Map(Object.entries(recipe.before ?? {}));
  const entries = commands.flatMap((command) => {
    const [beginning] = [...before.keys()].filter((each) => command.text.startsWith(each));
    const first =
      beginning === undefined
        ? []
        : [{ text: replace(before.get(beginning)!), code: 0, shown: [], prints: undefined }];
    if (beginning !== undefined) before.delete(beginning);
    const [, code = 0] =
      Object.entries(recipe.codes ?? {}).find(([begins]) => command.text.startsWith(begins)) ?? [];
    const [said, prints] =
      Object.entries(recipe.prints ?? {}).find(([begins]) => command.text.startsWith(begins)) ?? [];
    if (said !== undefined) unsaid.delete(said);
    const filled = fill(command.text);
    const text = recipe.services?.test(filled) ? untilAddress(filled) : filled;
    return [...first, { text, code, shown: command.shown.map(fill), prints }];
  });
  faults.push(
    ...[...before.keys(), ...unsaid].map((each) => `${recipe.page}: no command begins with ${each}`),
  );
  const blank = entries.find(({ text }) =>
    /…|(?<!\$)\b(FILE|HASH|DIR|NAME|ID)\b(?!=)/.test(text.replace(/\s#\s.*$/gm, "")),
  );
  if (blank) faults.push(`${recipe.page}: nothing fills in ${blank.text}`);
  const ran = await terminal.run(entries, folder, env);
  for (const [index, { text, code, shown, prints }] of entries.entries()) {
    const { code: ended, stdout, stderr } = ran[index]!;
    if (ended === code) {
      const lacks = shown.filter(
        (line) => !patternOf(line, recipe.hasExampleNumbers).test(`${stdout}\n${stderr}`),
      );
      for (const line of lacks)
        faults.push(`${recipe.page}: ${text}\nshould print: ${line}\nand printed: ${stdout}${stderr}`);
      if (prints && !prints.test(stdout))
        faults.push(`${recipe.page}: ${text}\nshould print ${prints}\nand printed: ${stdout}${stderr}`);
      continue;
    }
    faults.push(`${recipe.page}: ${text}\nended with ${ended} instead of ${code}:\n${stdout}${stderr}`);
    break;
  }
  return faults;
}

/** Runs a program in the background until it prints an address. */
const untilAddress = (text: string) => `${text} &
service=$!
until grep -q 'http://' "$OUT"; do kill -0 $service || break; sleep 0.05; done
kill $service && { wait $service || true; }`;

/** Parts of a shown line that differ each time, as alternatives in the order of `ANY`. */
const DIFFERING = new RegExp(
  [
    "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
    "(\\d{4}-\\d\\d-\\d\\d[T ][\\d:.]+(?:Z|\\+\\d\\d))",
    "((?:[0-9a-f]{8}-)?[0-9A-Za-z]*…)",
    "(\\d+(?= ms\\b))",
    "(\\s+)",
  ].join("|"),
  "g",
);
const ANY = ["[0-9a-f-]{36}", "\\d{4}-\\d\\d-\\d\\d[T ][\\d:.]+(?:Z|\\+\\d\\d)", ".*", "\\d+", "\\s+"];

/** A shown line, with any ids, times and durations, and anything for `…`. */
function patternOf(line: string, hasExampleNumbers = false): RegExp {
  const plain = (text: string) => {
    const escaped = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return hasExampleNumbers ? escaped.replace(/\d+/g, "\\d+") : escaped;
  };
  let end = 0;
  let pattern = "";
  for (const match of line.trim().matchAll(DIFFERING)) {
    pattern +=
      plain(line.trim().slice(end, match.index)) +
      ANY[match.slice(1).findIndex((each) => each !== undefined)];
    end = match.index + match[0].length;
  }
  return new RegExp(`^\\s*${pattern}${plain(line.trim().slice(end))}\\s*$`, "m");
}
